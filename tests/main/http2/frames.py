"""A connection in HTTP/2, written and read frame by frame. The programs beside this one are put behind it."""

import socket
import struct
import sys
import time

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
host, port = sys.argv[2].rsplit(":", 1)
PATIENCE = 30


class Connection:
    def __init__(self, settings=None):
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.buffer = b""
        self.socket.sendall(PREFACE + SettingsFrame(settings=settings or {}).serialize())

    def send(self, *frames):
        self.socket.sendall(b"".join(frame.serialize() for frame in frames))

    def headers(self, path="/orders/v1/x", method="GET", extra=(), pseudo=None):
        fields = pseudo or [(":method", method), (":scheme", "http"), (":authority", "gate"), (":path", path)]
        return self.encoder.encode([*fields, *extra])

    def request(self, stream, end=True, **how):
        frame = HeadersFrame(stream, data=self.headers(**how), flags=["END_HEADERS"])
        if end:
            frame.flags.add("END_STREAM")
        return frame

    def frames(self):
        """What comes, until the other side closes."""
        while True:
            while len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) < 9 + length:
                    break
                frame.parse_body(memoryview(self.buffer[9 : 9 + length]))
                self.buffer = self.buffer[9 + length :]
                yield frame
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not piece:
                return
            self.buffer += piece

    def ends(self):
        """How it ends: the code of a GOAWAY, or 'closed'."""
        for frame in self.frames():
            if isinstance(frame, GoAwayFrame) and frame.error_code != 0:
                return f"goaway {frame.error_code}"
        return "closed"

    def until(self, kind, stream):
        for frame in self.frames():
            if isinstance(frame, GoAwayFrame) and frame.error_code != 0:
                return frame
            if isinstance(frame, kind) and frame.stream_id == stream:
                return frame
        return None
