"""What comes on a stream before the answer."""

connection = Connection()
connection.send(connection.request(1))
for frame in connection.frames():
    if isinstance(frame, HeadersFrame):
        fields = connection.decoder.decode(frame.data)
        if dict(fields)[":status"] == "103":
            assert "END_STREAM" not in frame.flags, frame
            print(fields, flush=True)
        else:
            print(dict(fields)[":status"], flush=True)
            break
