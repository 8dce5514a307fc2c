"""What a hostile client can say in HTTP/2, written frame by frame. Each attack must end within its bounds; the program
says what the gateway has answered."""


def flood(connection, make, most):
    """Sends what `make` makes until the other side has had enough."""
    connection.socket.settimeout(2)
    try:
        for number in range(most):
            connection.socket.sendall(make(number))
        connection.send(PingFrame(0, opaque_data=b"are you?"))
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        pass
    connection.socket.settimeout(PATIENCE)
    for frame in connection.frames():
        if isinstance(frame, GoAwayFrame) and frame.error_code != 0:
            return f"goaway {frame.error_code}"
        if isinstance(frame, PingFrame) and frame.opaque_data == b"are you?":
            return "open"
    return "closed"


def rapid_reset():
    connection = Connection()

    def make(number):
        stream = 2 * number + 1
        return connection.request(stream).serialize() + RstStreamFrame(stream, error_code=8).serialize()

    return flood(connection, make, 20_000)


def made_you_reset():
    connection = Connection()

    def make(number):
        stream = 2 * number + 1
        # A window of nothing is a fault of the stream, so that the other side resets it.
        return connection.request(stream).serialize() + struct.pack(">HBBBII", 0, 4, 8, 0, stream, 0)

    return flood(connection, make, 20_000)


def continuation_flood():
    connection = Connection()
    connection.send(HeadersFrame(1, data=connection.headers()))
    filler = ContinuationFrame(1, data=connection.encoder.encode([("x-filler", "y" * 8_000)])).serialize()
    return flood(connection, lambda _: filler, 20_000)


def empty_continuations():
    connection = Connection()
    connection.send(HeadersFrame(1, data=connection.headers()))
    filler = ContinuationFrame(1).serialize() * 100
    return flood(connection, lambda _: filler, 10_000)


def settings_flood():
    connection = Connection()
    filler = SettingsFrame(settings={3: 100}).serialize() * 100
    return flood(connection, lambda _: filler, 2_000)


def ping_flood():
    connection = Connection()
    filler = PingFrame(0, opaque_data=b"12345678").serialize() * 100
    return flood(connection, lambda _: filler, 2_000)


def pong_flood():
    connection = Connection()
    filler = PingFrame(0, opaque_data=b"unasked!", flags=["ACK"]).serialize() * 100
    return flood(connection, lambda _: filler, 20)


def empty_data_flood():
    connection = Connection()
    connection.send(connection.request(1, end=False, method="POST"))
    filler = DataFrame(1).serialize() * 100
    return flood(connection, lambda _: filler, 2_000)


def hpack_bomb():
    connection = Connection()
    block = connection.headers(extra=[("x-large", "z" * 3_900)])
    # The same large field again and again, each time as one byte.
    bomb = block + b"\xbe" * 10_000
    connection.send(HeadersFrame(1, data=bomb, flags=["END_HEADERS", "END_STREAM"]))
    frame = connection.until((RstStreamFrame, HeadersFrame), 1)
    return type(frame).__name__


def too_many_streams():
    connection = Connection()
    connection.send(*(connection.request(2 * number + 1, end=False, method="POST") for number in range(400)))
    refused = 0
    for frame in connection.frames():
        if isinstance(frame, RstStreamFrame) and frame.error_code == 7:
            refused += 1
            if refused == 400 - 128:
                return "refused 272"
        if isinstance(frame, GoAwayFrame):
            return f"goaway {frame.error_code}"


def zero_window_of_refusals():
    return zero_window("/nobody/v1")


def zero_window(path="/orders/v1/large"):
    """Asks for much and takes nothing: every stream is reset, and the connection can still be used."""
    connection = Connection(settings={4: 0})
    asked = {2 * number + 1 for number in range(50)}
    connection.send(*(connection.request(stream, path=path) for stream in sorted(asked)))
    for frame in connection.frames():
        if isinstance(frame, RstStreamFrame):
            assert frame.error_code == 8, frame
            asked.discard(frame.stream_id)
        assert not isinstance(frame, (DataFrame, GoAwayFrame)), frame
        if not asked:
            connection.send(PingFrame(0, opaque_data=b"are you?"))
            return "open" if connection.until(PingFrame, 0) else "closed"


def malformed():
    """Requests that are none (RFC 9113 section 8.1.1): each is refused or reset, and the service sees none of them."""
    good = [(":method", "GET"), (":scheme", "http"), (":authority", "gate"), (":path", "/orders/v1/malformed")]
    cases = [
        good + [("X-Upper", "1")],
        good + [("connection", "close")],
        good + [("transfer-encoding", "chunked")],
        good + [("te", "gzip")],
        good + [("upgrade", "websocket")],
        good + [(":path", "/orders/v1/twice")],
        good + [("x-a", "1"), (":late", "1")],
        good[:3],
        good[1:],
        good[:3] + [(":path", "")],
        good[:3] + [(":path", "orders/v1/x")],
        good[:3] + [(":path", "/orders/v1/a b")],
        good[:3] + [(":path", "/orders/v1/\\x")],
        good + [("host", "other")],
        good + [("x-line", "a\r\nb: c")],
        good + [("x-nul", "a\0b")],
        good + [("content-length", "5")],
        [(":method", "CONNECT"), (":authority", "gate:443")],
        [(":method", "CONNECT"), (":protocol", "other"), *good[1:]],
    ]
    answers = []
    for fields in cases:
        connection = Connection()
        connection.send(HeadersFrame(1, data=connection.encoder.encode(fields), flags=["END_HEADERS", "END_STREAM"]))
        connection.socket.settimeout(PATIENCE)
        seen = None
        decoder_frames = connection.until((RstStreamFrame, HeadersFrame), 1)
        if decoder_frames is None:
            seen = "closed"
        elif isinstance(decoder_frames, HeadersFrame):
            status = dict(Decoder().decode(decoder_frames.data)).get(":status")
            seen = status
        elif isinstance(decoder_frames, GoAwayFrame):
            seen = "goaway"
        else:
            seen = "reset"
        answers.append(seen)
        connection.socket.close()
    bad = [(cases[at], seen) for at, seen in enumerate(answers) if seen not in ("closed", "goaway", "reset", "400", "405")]
    assert not bad, bad
    return "refused all"


def unreadable():
    """What the gateway answers to requests that it cannot read, and to one behind them, all on one connection."""
    connection = Connection()
    said = []
    requests = [{"path": "/orders/v1/%2f"}, {"extra": [("host", "other")]}, {"path": "/" + "x" * 17_000}, {"path": "/-/health"}]
    for number, request in enumerate(requests):
        stream = 2 * number + 1
        connection.send(connection.request(stream, **request))
        head = connection.until(HeadersFrame, stream)
        said.append(dict(connection.decoder.decode(head.data))[":status"])
    return " ".join(said)


def padded():
    """White space around the value of a field, which a service in HTTP/1.1 would not see."""
    connection = Connection()
    said = {}
    number = 0
    for name in ("x-debug", "authorization", "x-api-key", "content-type", "origin", "accept", "cookie", "x_odd"):
        for value in (" 1", "1 ", "\t1", "1\t", " ", "\t", "1 2", "1\t2", "1"):
            stream, number = 2 * number + 1, number + 1
            connection.send(connection.request(stream, path="/orders/v1/padded", extra=[(name, value)]))
            head = connection.until(HeadersFrame, stream)
            status = dict(connection.decoder.decode(head.data))[":status"]
            said.setdefault(value.strip() == value, set()).add(status)
    return f"{sorted(said[False])} {sorted(said[True])}"


def wrong_length():
    """A body that is longer or shorter than it was said to be does not pass for a whole one."""
    for length, body in [(5, b"1234567"), (9, b"1234567")]:
        connection = Connection()
        connection.send(
            connection.request(1, end=False, method="POST", path="/orders/v1/wrong", extra=[("content-length", str(length))]),
            DataFrame(1, data=body, flags=["END_STREAM"]),
        )
        frame = connection.until((RstStreamFrame, HeadersFrame), 1)
        if isinstance(frame, HeadersFrame):
            status = dict(Decoder().decode(frame.data)).get(":status")
            assert status in ("400", "502"), status
    return "refused all"


def expansion(kind):
    """A few bytes that refer again and again to what was said once. Says how many were sent, and how it ended."""
    # Answers, which repeat what was sent, are taken as they come.
    connection = Connection({4: 1 << 30})
    connection.send(WindowUpdateFrame(0, window_increment=1 << 30))
    long = "z" * 3_900
    fields = {
        "repeated": dict(extra=[("x-filler", long)] * 15),
        "crumbs": dict(extra=[("cookie", f"a={long}")] * 15),
        "once": dict(extra=[("x-filler", long)]),
        "path": dict(path="/orders/v1/" + long),
        "static": dict(extra=[("accept-encoding", "gzip, deflate")] * 120),
        "acknowledged": dict(extra=[("x-filler", long)] * 15),
        "trailers": {},
    }[kind]
    if kind == "acknowledged":
        connection.send(SettingsFrame(flags=["ACK"]))
    sent = 0
    connection.socket.settimeout(5)
    try:
        for number in range(1_000):
            stream = 2 * number + 1
            frames = [connection.request(stream, end=kind != "trailers", **fields)]
            if kind == "trailers":
                data = connection.encoder.encode([("x-filler", long)] * 15)
                frames.append(HeadersFrame(stream, data=data, flags=["END_HEADERS", "END_STREAM"]))
            bytes = b"".join(frame.serialize() for frame in frames)
            connection.socket.sendall(bytes)
            sent += len(bytes)
            # Within the number of calls that may be under way at once.
            for frame in connection.frames():
                is_end = isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags
                if frame.stream_id == stream and is_end:
                    break
            else:
                return f"{sent} closed"
    except (BrokenPipeError, ConnectionResetError):
        return f"{sent} closed"
    return f"{sent} open"


for kind in ["repeated", "crumbs", "once", "path", "static", "acknowledged", "trailers"]:
    globals()[f"expansion_{kind}"] = lambda kind=kind: expansion(kind)

print(globals()[sys.argv[1]]())
