"""Calls over one connection in HTTP/2, 20 at a time, until the other side says that it goes. Every call it has taken must be
answered."""

import socket
import sys

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

host, port = sys.argv[1].rsplit(":", 1)
stream = socket.create_connection((host, int(port)), timeout=20)
stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame().serialize())
encoder = Encoder()
open_streams, answered, last, following = set(), 0, None, 1


def call():
    global following
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/orders/v1/"), (":authority", "gate")]
    frame = HeadersFrame(following, data=encoder.encode(fields), flags=["END_HEADERS", "END_STREAM"])
    open_streams.add(following)
    following += 2
    return frame


def send(frames):
    try:
        stream.sendall(b"".join(frame.serialize() for frame in frames))
    except OSError:
        pass


send(call() for _ in range(20))
buffer = b""
while open_streams:
    data = stream.recv(65536)
    if not data:
        break
    buffer += data
    reply = []
    while len(buffer) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(buffer[:9]))
        if len(buffer) < 9 + length:
            break
        frame.parse_body(memoryview(buffer[9 : 9 + length]))
        buffer = buffer[9 + length :]
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            reply.append(SettingsFrame(flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            reply.append(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, GoAwayFrame):
            assert frame.error_code == 0, frame
            last = frame.last_stream_id if last is None else min(last, frame.last_stream_id)
        elif isinstance(frame, RstStreamFrame):
            raise AssertionError(f"stream {frame.stream_id} was reset with {frame.error_code}")
        if "END_STREAM" in frame.flags:
            open_streams.discard(frame.stream_id)
            answered += 1
            if last is None:
                reply.append(call())
    send(reply)
left = [number for number in open_streams if last is None or number <= last]
assert not left and last is not None, (left, last)
print("all answered", answered)
