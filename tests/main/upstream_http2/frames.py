"""A service in HTTP/2, written and read frame by frame. The programs beside this one are put behind it. The first line
they print is the service's port; then a line of JSON for each thing that happens."""

import json
import socket
import sys
import threading

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

saying = threading.Lock()


def tell(**said):
    # Whole lines, whoever says them.
    with saying:
        print(json.dumps(said), flush=True)


class Connection:
    def __init__(self, stream):
        self.socket, self.encoder, self.buffer = stream, Encoder(), b""
        stream.settimeout(30)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, length):
        while len(self.buffer) < length:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError
            self.buffer += more
        piece, self.buffer = self.buffer[:length], self.buffer[length:]
        return piece

    def send(self, *frames):
        self.socket.sendall(b"".join(frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))

    def head(self, stream, *fields, end=False, status="200"):
        pseudo = [(":status", status)] if status else []
        frame = HeadersFrame(stream, data=self.encoder.encode([*pseudo, *fields]), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def frame(self):
        """What comes next. Settings are agreed to."""
        frame, length = Frame.parse_frame_header(memoryview(self.read(9)))
        frame.parse_body(memoryview(self.read(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(SettingsFrame(flags=["ACK"]))
        return frame

    def asked(self):
        """The stream of the next request."""
        while not isinstance(frame := self.frame(), HeadersFrame):
            pass
        return frame.stream_id

    def begin(self):
        assert self.read(len(PREFACE)) == PREFACE
        self.send(SettingsFrame())


def data(stream, piece, end=True):
    return DataFrame(stream, data=piece, flags=["END_STREAM"] if end else [])


def raw(kind, flags, stream, body):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def forever(connection, piece):
    while True:
        connection.socket.sendall(piece)


def say_where():
    for line in sys.stdin:
        tell(event="mark", mark=line.strip())


def listen(serve):
    """Serves each connection with this."""
    threading.Thread(target=say_where, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(listener.getsockname()[1], flush=True)
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted,), daemon=True).start()
