"""A service whose answers end in this way or that, and that tells which of them are reset."""


def answer(c, stream, method, path, open_streams):
    length, whole = ("content-length", "4"), data(stream, b"body", end=False)
    if path == "/end":
        # All that is still open ends now, and then this.
        c.send(*(data(late, b"") for late in open_streams))
        open_streams.clear()
        c.send(c.head(stream, ("content-length", "2")), data(stream, b"ok"))
    elif path == "/twice":
        c.send(c.head(stream, length), whole, data(stream, b""))
    elif path == "/trailers":
        c.send(c.head(stream, length), whole, c.head(stream, ("x-sum", "4"), end=True, status=None))
    elif path == "/unchanged":
        # How long it would be. The end comes later, in a frame of its own.
        c.send(c.head(stream, ("content-length", "500"), status="304"))
        open_streams.append(stream)
    elif path == "/nothing":
        c.send(c.head(stream, status="204"))
        open_streams.append(stream)
    elif method == "HEAD":
        c.send(c.head(stream, length))
        open_streams.append(stream)
    else:
        c.send(c.head(stream, length), whole)
        if path == "/late":
            open_streams.append(stream)


def serve(stream):
    tell(event="connection")
    c, decoder, open_streams = Connection(stream), Decoder(), []
    try:
        c.begin()
        while True:
            frame = c.frame()
            if isinstance(frame, HeadersFrame):
                asked = dict(decoder.decode(frame.data))
                remembered = {name.decode() for name, _ in decoder.header_table.dynamic_entries}
                tell(event="request", fields=sorted(asked), remembered=sorted(remembered))
                answer(c, frame.stream_id, asked[":method"], asked[":path"], open_streams)
            elif isinstance(frame, RstStreamFrame):
                tell(event="reset", stream=frame.stream_id, code=frame.error_code)
    except (ConnectionError, TimeoutError) as error:
        tell(event="ended", how=repr(error))


listen(serve)
