"""How answers and bodies pass on streams, frame by frame. The program says what it has seen."""


def status(frame, connection):
    return dict(connection.decoder.decode(frame.data))[":status"]


def open_window(connection, stream, by):
    connection.send(WindowUpdateFrame(stream, window_increment=by))


def stalled():
    """Takes nothing more of one answer, and all of the others."""
    connection = Connection()
    open_window(connection, 0, 1 << 24)
    connection.send(connection.request(1, path="/orders/v1/large"))
    taken, lively, number, asked = 0, 0, 3, False
    for frame in connection.frames():
        assert not isinstance(frame, GoAwayFrame), frame
        if isinstance(frame, DataFrame) and frame.stream_id == 1:
            taken += len(frame.data)
        if isinstance(frame, DataFrame) and frame.stream_id == number:
            lively += len(frame.data)
            if frame.data:
                open_window(connection, 0, len(frame.data))
            if "END_STREAM" in frame.flags:
                assert lively == 4_000_000, lively
                lively, number, asked = 0, number + 2, False
            elif frame.data:
                open_window(connection, number, len(frame.data))
        if isinstance(frame, RstStreamFrame):
            assert frame.stream_id == 1 and number > 3, (frame, number)
            return f"reset {frame.error_code} after {taken}"
        if taken == 65_535 and not asked:
            connection.send(connection.request(number, path="/orders/v1/large"))
            asked = True


def broken():
    """What a service breaks off does not pass for whole."""
    connection = Connection()
    connection.send(connection.request(1, path="/orders/v1/broken"))
    status(connection.until(HeadersFrame, 1), connection)
    frame = connection.until(RstStreamFrame, 1)
    connection.send(connection.request(3, path="/orders/v1/small"))
    return f"reset {frame.error_code}, then {status(connection.until(HeadersFrame, 3), connection)}"


def early():
    """An answer that does not wait for the request's body ends it."""
    connection = Connection()
    connection.send(connection.request(1, end=False, method="POST", path="/nobody/v1"))
    seen = []
    for frame in connection.frames():
        if frame.stream_id == 1:
            seen.append(type(frame).__name__ + (" end" if "END_STREAM" in frame.flags else ""))
        if isinstance(frame, RstStreamFrame):
            return ", ".join([*seen, str(frame.error_code)])


def go_ahead():
    """The body is sent when it is wanted, and not before."""
    connection = Connection()
    wait = [("expect", "100-continue"), ("content-length", "5")]
    connection.send(connection.request(1, end=False, method="POST", path="/nobody/v1", extra=wait))
    refused = status(connection.until(HeadersFrame, 1), connection)
    connection.send(connection.request(3, end=False, method="POST", path="/orders/v1/small", extra=wait))
    interim = connection.until(HeadersFrame, 3)
    assert "END_STREAM" not in interim.flags, interim
    said = connection.decoder.decode(interim.data)
    connection.send(DataFrame(3, data=b"hello", flags=["END_STREAM"]))
    return f"{refused}, {said}, {status(connection.until(HeadersFrame, 3), connection)}"


def trailers():
    connection = Connection()
    extra = [("te", "trailers"), ("trailer", "x-in")]
    connection.send(
        connection.request(1, end=False, method="POST", path="/orders/v1/trailers", extra=extra),
        DataFrame(1, data=b"hi"),
        HeadersFrame(1, data=connection.encoder.encode([("x-in", "7")]), flags=["END_HEADERS", "END_STREAM"]),
    )
    heads = []
    for frame in connection.frames():
        if isinstance(frame, HeadersFrame):
            heads.append(connection.decoder.decode(frame.data))
            if "END_STREAM" in frame.flags:
                return f"{dict(heads[0])[':status']} {heads[1:]}"


def shapes():
    """How short answers look: one frame each, whole, with their length and date."""
    connection = Connection()
    answers = []
    for number, (method, path) in enumerate(
        [("GET", "small"), ("HEAD", "small"), ("GET", "nothing"), ("GET", "unchanged"), ("GET", "chunked")]
    ):
        stream = 2 * number + 1
        connection.send(connection.request(stream, method=method, path=f"/orders/v1/{path}"))
        said = []
        for frame in connection.frames():
            if frame.stream_id != stream:
                continue
            if isinstance(frame, HeadersFrame):
                fields = dict(connection.decoder.decode(frame.data))
                assert "GMT" in fields["date"], fields
                assert not {"connection", "transfer-encoding", "keep-alive"} & set(fields), fields
                said.append(f"{fields[':status']} length {fields.get('content-length')}")
            elif isinstance(frame, DataFrame):
                said.append(f"{len(frame.data)} bytes")
            if "END_STREAM" in frame.flags:
                break
        answers.append(" ".join(said))
    return "; ".join(answers)


def slow_service():
    """Sends as much as it may to a service that reads nothing yet, and the rest when it does."""
    connection = Connection()
    connection.send(connection.request(1, end=False, method="POST", path="/orders/v1/slow"))
    left, sent, of_stream, of_connection, told = 64 << 20, 0, 65_535, 65_535, False
    frames = connection.frames()
    connection.socket.settimeout(2)
    while left:
        while (room := min(of_stream, of_connection, left, 16_384)) > 0:
            connection.send(DataFrame(1, data=b"x" * room, flags=["END_STREAM"] if room == left else []))
            left, sent = left - room, sent + room
            of_stream, of_connection = of_stream - room, of_connection - room
        if not left:
            break
        try:
            frame = next(frames)
        except TimeoutError:
            assert not told, "the service reads, and nobody may send"
            print(sent, flush=True)
            sys.stdin.readline()
            told, frames = True, connection.frames()
            connection.socket.settimeout(PATIENCE)
            continue
        if isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                of_stream += frame.window_increment
            else:
                of_connection += frame.window_increment
        elif isinstance(frame, SettingsFrame) and 4 in frame.settings:
            connection.send(SettingsFrame(flags=["ACK"]))
            of_stream += frame.settings[4] - 65_535
    assert told, "nobody has been slowed down"
    connection.socket.settimeout(PATIENCE)
    return status(connection.until(HeadersFrame, 1), connection)


def left():
    """Resets a stream on which it waits for an answer."""
    connection = Connection()
    connection.send(connection.request(1, path="/orders/v1/wait"))
    sys.stdin.readline()
    connection.send(RstStreamFrame(1, error_code=8), connection.request(3, path="/orders/v1/small"))
    return status(connection.until(HeadersFrame, 3), connection)


def left_websockets():
    """Resets WebSockets through which nothing passes, more than there may be streams at once."""
    connection = Connection()
    own = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "gate")]
    for stream in range(1, 300, 2):
        wish = [*own, (":path", f"/orders/v1/chat/{stream}"), ("sec-websocket-version", "13")]
        connection.send(connection.request(stream, end=False, pseudo=wish))
        assert status(connection.until(HeadersFrame, stream), connection) == "200"
        connection.send(DataFrame(stream, data=b"hello"), RstStreamFrame(stream, error_code=8))
    connection.send(connection.request(301, path="/orders/v1/small"))
    return status(connection.until(HeadersFrame, 301), connection)


def upload(connection, stream):
    """Sends a body whose bytes are all there and whose end is not, and waits for the whole answer."""
    length = [("content-length", "5")]
    connection.send(
        connection.request(stream, end=False, method="POST", path="/orders/v1/small", extra=length),
        DataFrame(stream, data=b"hello"),
    )
    for frame in connection.frames():
        assert isinstance(frame, (HeadersFrame, DataFrame, SettingsFrame, WindowUpdateFrame)), frame
        if isinstance(frame, HeadersFrame):
            status(frame, connection)
        if frame.stream_id == stream and "END_STREAM" in frame.flags:
            return


def late_ends():
    """Ends its bodies when they have been answered."""
    connection = Connection()
    for stream in range(1, 401, 2):
        upload(connection, stream)
        connection.send(DataFrame(stream, data=b"", flags=["END_STREAM"]))
    upload(connection, 401)
    return "all answered"


def no_end():
    """Does not end a body that has come whole."""
    connection = Connection()
    upload(connection, 1)
    return f"reset {connection.until(RstStreamFrame, 1).error_code}"


def taken_back():
    """Takes ten requests back in the very piece that brings them."""
    connection = Connection()
    connection.send(connection.request(1, path="/orders/v1/small"))
    status(connection.until(HeadersFrame, 1), connection)
    connection.until(DataFrame, 1)
    pairs = []
    for stream in range(3, 23, 2):
        pairs += [connection.request(stream, path="/orders/v1/taken-back"), RstStreamFrame(stream, error_code=8)]
    connection.send(*pairs)
    connection.send(connection.request(23, path="/orders/v1/small"))
    return status(connection.until(HeadersFrame, 23), connection)


def remembered():
    """The names of the fields that the other side wants remembered of its answers."""
    connection = Connection()
    for stream in (1, 3):
        connection.send(connection.request(stream, path="/orders/v1/small"))
        fields = connection.decoder.decode(connection.until(HeadersFrame, stream).data)
        assert "x-request-id" in dict(fields), fields
    return " ".join(sorted({name.decode() for name, _ in connection.decoder.header_table.dynamic_entries}))


def rested():
    """Says nothing more after a call, until the other side has gone."""
    connection = Connection()
    connection.send(connection.request(1, path="/orders/v1/small"))
    return [frame.last_stream_id for frame in connection.frames() if isinstance(frame, GoAwayFrame)]


print(globals()[sys.argv[1]]())
