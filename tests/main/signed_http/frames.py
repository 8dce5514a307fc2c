"""Sends requests over HTTP/2 whose bodies come in given frames, and tells how each is answered. It stands behind frames.py of
the tests of HTTP/2."""

import json


class Call:
    """One call on a connection of its own, which keeps to the windows of the gateway."""

    def __init__(self):
        self.connection = Connection()
        self.coming = self.connection.frames()
        self.windows = {0: 65535, 1: 65535}
        self.answer = None
        # The gateway's settings come first.
        while not self.next("SETTINGS"):
            pass

    def next(self, wanted):
        """Takes the next frame, and tells whether it is the one that is wanted, or the last."""
        frame = next(self.coming, None)
        if frame is None:
            self.answer = self.answer or "closed"
        elif isinstance(frame, GoAwayFrame) and frame.error_code != 0:
            self.answer = self.answer or f"goaway {frame.error_code}"
        elif isinstance(frame, RstStreamFrame):
            self.answer = self.answer or f"reset {frame.error_code}"
        elif isinstance(frame, HeadersFrame):
            self.answer = self.answer or dict(self.connection.decoder.decode(frame.data))[":status"]
        elif isinstance(frame, WindowUpdateFrame):
            self.windows[frame.stream_id] += frame.window_increment
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.windows[1] += frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535) - 65535
            self.connection.send(SettingsFrame(flags=["ACK"]))
            return wanted == "SETTINGS"
        elif isinstance(frame, PingFrame) and "ACK" in frame.flags:
            return wanted == "PING"
        return self.answer is not None

    def send(self, frame):
        length = len(frame.data) if isinstance(frame, DataFrame) else 0
        while self.answer is None and min(self.windows.values()) < length:
            self.next("WINDOW_UPDATE")
        for number in self.windows:
            self.windows[number] -= length
        self.connection.send(frame)

    def arrive(self):
        """Waits until the gateway has read everything that was sent."""
        self.connection.send(PingFrame(0, opaque_data=b"are you "))
        while not self.next("PING"):
            pass

    def end(self):
        """The status of the answer, or how the stream ended without one."""
        while self.answer is None:
            self.next("HEADERS")
        return self.answer


def ask(case):
    call = Call()
    encoder = call.connection.encoder
    pseudo = [(":method", case["method"]), (":scheme", "http"), (":authority", case["host"]), (":path", case["target"])]
    headers = HeadersFrame(1, data=encoder.encode([*pseudo, *case["fields"]]), flags=["END_HEADERS"])
    if not case["frames"]:
        headers.flags.add("END_STREAM")
    call.send(headers)
    for number, frame in enumerate(case["frames"], 1):
        if frame is None:
            made = HeadersFrame(1, data=encoder.encode([("x-trailer", "1")]), flags=["END_HEADERS"])
        else:
            made = DataFrame(1, frame.encode())
        if number == len(case["frames"]):
            made.flags.add("END_STREAM")
        call.send(made)
        if case["apart"] and number < len(case["frames"]):
            call.arrive()
    return call.end()


print(json.dumps([ask(case) for case in json.loads(sys.stdin.read())]))
