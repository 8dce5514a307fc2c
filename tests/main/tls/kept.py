"""Connections over TLS that are kept, by a client that shows a certificate. The programs do one thing, say so, wait for a
line, and say what becomes of the connection."""

import select
import ssl

host_name = "api.example.com"


class Kept(Connection):
    """One in HTTP/2."""

    def __init__(self):
        self.socket = dial("h2")
        self.encoder, self.decoder = Encoder(), Decoder()
        self.encoder.header_table_size = 0
        self.buffer = b""
        self.socket.sendall(PREFACE + SettingsFrame(settings={}).serialize())


def dial(protocol):
    context = ssl.create_default_context(cafile=sys.argv[3])
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    context.set_alpn_protocols([protocol])
    plain = socket.create_connection((host, int(port)), timeout=PATIENCE)
    stream = context.wrap_socket(plain, server_hostname=host_name)
    assert stream.selected_alpn_protocol() == protocol, stream.selected_alpn_protocol()
    return stream


def say(what):
    print(what, flush=True)


def told():
    sys.stdin.readline()


def head(stream):
    """The head of an answer; nothing if the connection has ended."""
    read = b""
    while b"\r\n\r\n" not in read:
        try:
            piece = stream.recv(1)
        except (ConnectionResetError, ssl.SSLError):
            return ""
        if not piece:
            return ""
        read += piece
    return read.decode().lower()


def call(stream, path="/orders/v1/x", fields=""):
    """The status of an answer in HTTP/1.1, and whether it is the last; 'closed' if there is none."""
    try:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host_name}\r\n{fields}\r\n".encode())
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        return "closed"
    answer = head(stream)
    if not answer:
        return "closed"
    for line in answer.split("\r\n"):
        if line.startswith("content-length:"):
            left = int(line.split(":")[1])
            while left:
                left -= len(stream.recv(left))
    return answer.split()[1] + (" last" if "connection: close" in answer else "")


def http1():
    stream = dial("http/1.1")
    say(call(stream))
    told()
    say(call(stream))


def until_refused():
    """Calls over one connection for as long as that is answered."""
    stream = dial("http/1.1")
    while (answer := call(stream)) == "200":
        time.sleep(0.05)
    say(answer)


def answered(connection, stream):
    """What comes of a call in HTTP/2."""
    try:
        connection.send(connection.request(stream))
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        return "closed"
    goes = False
    for frame in connection.frames():
        goes |= isinstance(frame, GoAwayFrame)
        if isinstance(frame, HeadersFrame) and frame.stream_id == stream:
            return dict(connection.decoder.decode(frame.data))[":status"] + (" last" if goes else "")
        if isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
            return "reset"
    return "closed"


def http2():
    connection = Kept()
    say(answered(connection, 1))
    told()
    say(answered(connection, 3))


def http2_idle():
    connection = Kept()
    say(answered(connection, 1))
    told()
    say("goaway" if any(isinstance(frame, GoAwayFrame) for frame in connection.frames()) else "closed")


def until_goaway():
    """Calls over one connection in HTTP/2 until that is to end."""
    connection = Kept()
    for stream in range(1, 20_000, 2):
        answer = answered(connection, stream)
        if answer != "200":
            return say(answer)
        time.sleep(0.05)


def stream1(path="events"):
    stream = dial("http/1.1")
    stream.sendall(f"GET /orders/v1/{path} HTTP/1.1\r\nHost: {host_name}\r\n\r\n".encode())
    say(head(stream).split()[1])
    told()
    ends(stream)


def stream2(path="events"):
    connection = Kept()
    connection.send(connection.request(1, path=f"/orders/v1/{path}"))
    connection.until(HeadersFrame, 1)
    say("200")
    told()
    say("cut" if isinstance(connection.until(RstStreamFrame, 1), RstStreamFrame) else "closed")


def download1():
    stream1("download")


def download2():
    stream2("download")


def websocket():
    stream = dial("http/1.1")
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    stream.sendall(f"GET /orders/v1/ws HTTP/1.1\r\nHost: {host_name}\r\n{fields}\r\n".encode())
    say(head(stream).split()[1])
    told()
    ends(stream)


def ends(stream):
    """Whatever comes, it must come to an end."""
    try:
        while stream.recv(4096):
            pass
        say("closed")
    except (ConnectionResetError, ssl.SSLError):
        say("cut")


globals()[sys.argv[1]]()
