"""A service that says wrong things in HTTP/2: which ones is the program's argument."""

what = sys.argv[1]


def padded(name, length):
    """A header field that is not compressed and not remembered."""
    value = b"y" * length
    coded = bytearray([0x00, len(name)]) + name.encode()
    left = length - 127
    coded.append(127)
    while left >= 128:
        coded.append(left % 128 + 128)
        left //= 128
    coded.append(left)
    return bytes(coded) + value


def act(c, s):
    if what == "garbage":
        c.send(b"\xff" * 1000)
    elif what == "no_status":
        c.send(c.head(s, ("x", "y"), status=None), data(s, b"x"))
    elif what == "bad_status":
        c.send(c.head(s, status="2x0"), data(s, b"x"))
    elif what == "two_statuses":
        c.send(c.head(s, (":status", "404")), data(s, b"x"))
    elif what == "late_pseudo":
        c.send(c.head(s, ("x", "y"), (":status", "200"), status=None), data(s, b"x"))
    elif what == "misplaced":
        c.send(c.head(s, (":path", "/")), data(s, b"body", end=False), c.head(s, ("x", "y"), end=True))
    elif what == "uppercase":
        # Literals: the encoder would put the name in lower case.
        c.send(raw(1, 4, s, b"\x88" + b"\x00\x07X-Upper\x01y"), data(s, b"x"))
    elif what == "line_break":
        c.send(raw(1, 4, s, b"\x88" + b"\x00\x01x\x09a\r\nb: c\r\n"), data(s, b"x"))
    elif what == "connection_field":
        c.send(c.head(s, ("connection", "close")), data(s, b"x"))
    elif what == "coding_field":
        c.send(c.head(s, ("transfer-encoding", "chunked")), data(s, b"x"))
    elif what == "switch":
        c.send(c.head(s, status="101"), data(s, b"x"))
    elif what == "two_lengths":
        c.send(c.head(s, ("content-length", "1"), ("content-length", "2")), data(s, b"x"))
    elif what == "no_length":
        c.send(c.head(s, ("content-length", "-1")), data(s, b"x"))
    elif what == "length_of_nothing":
        c.send(c.head(s, ("content-length", "5"), end=True))
    elif what == "data_first":
        c.send(data(s, b"x"))
    elif what == "other_stream":
        c.send(c.head(s + 1000), data(s + 1000, b"x"))
    elif what == "even_stream":
        c.send(c.head(2), data(2, b"x"))
    elif what == "large_frame":
        c.send(raw(0, 0, s, b"x" * 20_000))
    elif what == "bad_compression":
        c.send(raw(1, 4, s, b"\xff\xff\xff\xff\xff\xff"))
    elif what == "broken_settings":
        c.send(raw(4, 0, 0, b"12345"))
    elif what == "window_overflow":
        c.send(WindowUpdateFrame(0, window_increment=2**31 - 1), WindowUpdateFrame(0, window_increment=2**31 - 1))
    elif what == "no_window":
        c.send(raw(8, 0, 0, b"\0\0\0\0"))
    elif what == "push":
        block = c.encoder.encode([(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")])
        c.send(PushPromiseFrame(s, promised_stream_id=2, data=block, flags=["END_HEADERS"]))
    elif what == "goaway":
        c.send(GoAwayFrame(0, last_stream_id=0, error_code=2))
    elif what == "closes":
        pass
    elif what == "large_head":
        block = b"\x88" + b"".join(padded(f"x-{number}", 10_000) for number in range(10))
        c.send(raw(1, 0, s, block[:16_000]))
        for at in range(16_000, len(block), 16_000):
            c.send(raw(9, 4 if at + 16_000 >= len(block) else 0, s, block[at : at + 16_000]))
        c.send(data(s, b"x"))
    elif what == "compression_bomb":
        # One field that is remembered, told thousands of times in a byte each.
        c.send(c.head(s, ("x-bomb", "y" * 3000)), data(s, b"", end=False))
        c.send(raw(1, 5, s, b"\xbe" * 16_000))
    elif what == "bomb_in_head":
        first = c.encoder.encode([(":status", "200"), ("x-bomb", "y" * 3000)])
        c.send(raw(1, 4, s, first + b"\xbe" * 12_000), data(s, b"x"))
    elif what == "continuations":
        c.send(raw(1, 0, s, b"\x88"))
        forever(c, raw(9, 0, s, padded("x", 1000)) * 16)
    elif what == "empty_continuations":
        c.send(raw(1, 0, s, b"\x88"))
        forever(c, raw(9, 0, s, b"") * 100)
    elif what == "hints":
        forever(c, c.head(s, ("link", "</a.css>"), status="103").serialize() * 100)
    elif what == "settings":
        forever(c, SettingsFrame(settings={4: 65535}).serialize() * 100)
    elif what == "pings":
        forever(c, PingFrame(0, opaque_data=b"are you?").serialize() * 100)
    elif what == "empty_data":
        c.send(c.head(s))
        forever(c, data(s, b"", end=False).serialize() * 100)
    elif what == "tiny_data":
        c.send(c.head(s))
        forever(c, data(s, b"x", end=False).serialize() * 100)
    elif what == "too_much_data":
        # More than there is room for: the other side takes none of it.
        c.send(c.head(s))
        forever(c, data(s, b"x" * 16_000, end=False).serialize())
    elif what == "short":
        c.send(c.head(s, ("content-length", "10")), data(s, b"short"))
    elif what == "long":
        c.send(c.head(s, ("content-length", "3")), data(s, b"too long"))
    else:
        raise SystemExit(f"nobody knows how to {what}")


def serve(stream):
    tell(event="connection")
    connection = Connection(stream)
    try:
        if what == "http1":
            connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        elif what == "takes_nothing":
            connection.send(SettingsFrame(settings={3: 0}))
        elif what != "silent":
            connection.begin()
            while True:
                act(connection, connection.asked())
                if what == "closes":
                    break
        else:
            connection.read(1 << 30)
        while what != "closes" and connection.socket.recv(65536):
            pass
    except (ConnectionError, TimeoutError) as error:
        tell(event="ended", how=repr(error))
    stream.close()


listen(serve)
