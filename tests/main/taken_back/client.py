"""Calls that go on for long, each in a thread of its own: what each was told at its end is said, line by line.

A line on stdin asks whether all of them still go on."""

import select
import threading

_, _, _, token, key, *ways = sys.argv
LENGTH = 100_000_000
fields = [("authorization", f"Bearer {token}"), ("x-api-key", key)]
moved, opened, asked, ended, saying = {}, {}, threading.Event(), {}, threading.Lock()


def say(*words):
    with saying:
        print(*words, flush=True)


def code(body):
    return next((word.split('"')[1] for word in body.decode().split('"code":')[1:]), "")


class Http1:
    def __init__(self, way):
        self.way, self.read = way, b""
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)

    def begin(self, method, *more):
        lines = [f"{method} /orders/v1/{self.way} HTTP/1.1", "Host: gate", *(f"{a}: {b}" for a, b in fields), *more]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def head(self):
        while b"\r\n\r\n" not in self.read:
            piece = self.socket.recv(65536)
            if not piece:
                return ""
            self.read += piece
        head, self.read = self.read.split(b"\r\n\r\n", 1)
        return head.decode().split()[1]

    def answer(self):
        status = self.head()
        while b'"code"' not in self.read and b"ok" not in self.read:
            piece = self.socket.recv(65536)
            if not piece:
                break
            self.read += piece
        return f"{status} {code(self.read)}".strip()

    def rest(self):
        length = len(self.read)
        try:
            while piece := self.socket.recv(65536):
                length += len(piece)
                moved[self.way] = moved.get(self.way, 0) + 1
        except ConnectionResetError:
            pass
        return "whole" if length == LENGTH else "cut"

    def down(self):
        self.begin("GET")
        assert self.head() == "200"
        opened[self.way].set()
        return self.rest()

    def flood(self):
        """Takes nothing of its answer before it is asked to."""
        self.begin("GET")
        assert self.head() == "200"
        opened[self.way].set()
        asked.wait()
        return self.rest()

    def late(self):
        self.begin("GET")
        opened[self.way].set()
        return self.answer()

    def drip(self, piece):
        """Sends a piece now and then, until there is an answer."""
        while True:
            if select.select([self.socket], [], [], 0.05)[0]:
                return
            self.socket.sendall(piece)
            moved[self.way] = moved.get(self.way, 0) + 1
            opened[self.way].set()

    def up(self):
        self.begin("POST", "Transfer-Encoding: chunked")
        self.drip(b"1\r\nx\r\n")
        return self.answer()

    def long(self):
        self.begin("POST", f"Content-Length: {LENGTH}")
        self.drip(b"x")
        return self.answer()

    def early(self):
        """Goes on sending behind the end of its answer."""
        self.begin("POST", "Transfer-Encoding: chunked")
        assert self.answer() == "200"
        try:
            self.drip(b"1\r\nx\r\n")
            return "closed" if not self.socket.recv(1) else "more"
        except (ConnectionResetError, BrokenPipeError):
            return "closed"

    def deaf(self):
        """Sends more than is taken."""
        self.begin("POST", f"Content-Length: {LENGTH}")
        self.socket.setblocking(False)
        while True:
            came, takes, _ = select.select([self.socket], [self.socket], [], 0.3)
            if came:
                self.socket.settimeout(PATIENCE)
                return self.answer()
            if takes:
                self.socket.send(b"x" * 65536)
            else:
                opened[self.way].set()


class Http2(Connection):
    def __init__(self, way):
        super().__init__()
        self.way, self.writing = way, threading.Lock()

    def begin(self, method="GET", end=True, extra=()):
        extra = [*fields, *extra]
        self.send(self.request(1, end=end, method=method, path=f"/orders/v1/{self.way}", extra=extra))

    def send(self, *frames):
        with self.writing:
            super().send(*frames)

    def answer(self, takes=True):
        status, body = "", b""
        for frame in self.frames():
            if isinstance(frame, HeadersFrame):
                status = dict(self.decoder.decode(frame.data))[":status"]
                if status == "200":
                    opened[self.way].set()
            if isinstance(frame, DataFrame):
                body += frame.data
                moved[self.way] = moved.get(self.way, 0) + 1
                if status != "200" and "END_STREAM" in frame.flags:
                    return f"{status} {code(body)}"
                if takes and frame.data:
                    by = len(frame.data)
                    self.send(WindowUpdateFrame(0, window_increment=by), WindowUpdateFrame(1, window_increment=by))
            if isinstance(frame, RstStreamFrame) and status == "200":
                return f"reset {frame.error_code}"
        return "closed"

    def down(self):
        self.begin()
        return self.answer()

    def flood(self):
        self.begin()
        return self.answer(takes=False)

    def late(self):
        self.begin()
        opened[self.way].set()
        return self.answer()

    def upload(self, extra, pause, piece):
        self.begin("POST", end=False, extra=extra)
        over = threading.Event()

        def drip():
            while not over.wait(pause):
                moved[self.way] = moved.get(self.way, 0) + 1
                self.send(DataFrame(1, data=piece))
                opened[self.way].set()

        threading.Thread(target=drip, daemon=True).start()
        told = self.answer()
        over.set()
        return told

    def up(self):
        return self.upload([], 0.05, b"x")

    def early(self):
        """Goes on sending behind the end of its answer."""
        self.begin("POST", end=False)
        for frame in self.frames():
            if "END_STREAM" in frame.flags:
                break
        while True:
            if select.select([self.socket], [], [], 0.05)[0]:
                frame = self.until(RstStreamFrame, 1)
                return f"reset {frame.error_code}" if frame else "closed"
            self.send(DataFrame(1, data=b"x"))
            moved[self.way] = moved.get(self.way, 0) + 1
            opened[self.way].set()

    def long(self):
        return self.upload([("content-length", str(LENGTH))], 0.05, b"x")


def run(way):
    kind = {"1": Http1, "2": Http2}[way[-1]]
    try:
        ended[way] = getattr(kind(way), way[:-1])()
    except Exception as error:  # It is an end like others, and the test's to judge.
        ended[way] = repr(error)
    opened[way].set()
    say(way, ended[way])


for way in ways:
    opened[way] = threading.Event()
    threading.Thread(target=run, args=[way], daemon=True).start()
for way in ways:
    assert opened[way].wait(PATIENCE), way
say("open")
sys.stdin.readline()
asked.set()
before = dict(moved)
time.sleep(0.5)
still = [way for way in ways if way not in ended and (moved.get(way, 0) > before.get(way, 0) or way[:-1] == "late")]
say("on", *still)
sys.stdin.readline()
