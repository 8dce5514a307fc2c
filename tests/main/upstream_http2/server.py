"""A service that speaks HTTP/2, strictly, in clear or over TLS. What it does with a call stands in the call's path. The
first line it prints is its port; then a line of JSON for each thing that happens."""

import asyncio
import json
import ssl
import sys

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

options = json.loads(sys.argv[1])
connections = 0
seen_before = set()
BIG = b"x" * 20_000_000


def tell(**what):
    print(json.dumps(what), flush=True)


class Stream:
    def __init__(self, headers):
        self.headers = [(name, value) for name, value in headers]
        self.body = b""
        self.trailers = []
        self.to_send, self.sent = b"", 0
        self.last = None

    def field(self, name):
        return next((value for field, value in self.headers if field == name), None)


class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        global connections
        connections += 1
        self.number, self.transport = connections, transport
        self.streams, self.served, self.most = {}, 0, 0
        chosen = transport.get_extra_info("ssl_object")
        self.alpn = chosen.selected_alpn_protocol() if chosen else None
        tell(event="connection", number=self.number, alpn=self.alpn)
        # Whoever chooses nothing speaks what was always spoken.
        self.is_http1 = chosen is not None and self.alpn != "h2"
        if self.is_http1:
            return
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        settings = {SettingCodes.MAX_CONCURRENT_STREAMS: self.option("streams", 100)}
        window = self.option("window")
        if window is not None:
            settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
        self.h2.local_settings.update(settings)
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.flush()

    def option(self, name, otherwise=None):
        """An option, which may be another one for the first connection."""
        value = options.get(name, otherwise)
        return options.get(f"first_{name}", value) if self.number == 1 else value

    def connection_lost(self, _):
        tell(event="lost", number=self.number, most=self.most)

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        if self.is_http1:
            return self.http1(data)
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            tell(event="fault", number=self.number, what=repr(error))
            self.flush()
            return self.transport.close()
        for event in events:
            try:
                self.happened(event)
            except StreamClosedError:
                # Reset by what came along with it.
                self.streams.pop(event.stream_id, None)
            except Exception as error:
                if self.h2.state_machine.state is ConnectionState.CLOSED:
                    # So is the connection.
                    continue
                tell(event="fault", number=self.number, what=repr(error))
                raise
        self.flush()

    def http1(self, data):
        head = data.decode()
        upgrade = "upgrade: echo" in head.lower()
        tell(event="http1", number=self.number, head=head)
        self.served += 1
        if "die-used" in head and self.served > 1:
            return self.transport.abort()
        if upgrade:
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nin http")

    def happened(self, event):
        if isinstance(event, RequestReceived):
            stream = Stream(event.headers)
            self.streams[event.stream_id] = stream
            open_now = self.h2.open_inbound_streams
            self.most = max(self.most, open_now)
            path = stream.field(":path")
            tell(event="request", number=self.number, stream=event.stream_id, path=path, open=open_now)
            self.begun(event.stream_id, stream, path)
        elif isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is None:
                tell(event="for nobody", stream=event.stream_id, bytes=len(event.data))
                return
            path = stream.field(":path")
            if path.startswith("/hold"):
                # Taken, and no room is made for more.
                stream.body += event.data
                tell(event="held", stream=event.stream_id, bytes=len(stream.body))
                return
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if path.startswith("/held-and-refused"):
                self.refuse(event.stream_id)
            elif path.startswith("/duplex"):
                self.send(event.stream_id, event.data)
            else:
                stream.body += event.data
        elif isinstance(event, TrailersReceived):
            self.streams[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                self.ended(event.stream_id, stream, stream.field(":path"))
        elif isinstance(event, StreamReset):
            tell(event="reset", number=self.number, stream=event.stream_id, code=int(event.error_code))
            self.streams.pop(event.stream_id, None)
        elif isinstance(event, (WindowUpdated, RemoteSettingsChanged)):
            for number in list(self.streams):
                self.push(number)
        elif isinstance(event, ConnectionTerminated):
            tell(event="goaway", number=self.number, code=int(event.error_code))

    def begun(self, number, stream, path):
        """What is done as soon as the head is there."""
        self.served += 1
        after = options.get("goaway_after")
        if after and self.served > after:
            # Not looked at; the good-bye has said so.
            self.streams.pop(number)
            return
        if after and self.served == after:
            self.goaway(number)
        if path.startswith("/duplex"):
            self.h2.send_headers(number, [(":status", "200"), ("x-duplex", "yes")])
        elif path.startswith("/early"):
            self.h2.send_headers(number, [(":status", "413"), ("content-length", "5")])
            self.h2.send_data(number, b"early", end_stream=True)
            self.h2.reset_stream(number, ErrorCodes.NO_ERROR)
            self.streams.pop(number)
        elif path.startswith("/refused"):
            if path in seen_before and not path.startswith("/refused-always"):
                return
            seen_before.add(path)
            self.refuse(number)
        elif path.startswith("/good-bye") and self.number == 1:
            self.goaway(max(0, number - 2))
            self.streams.pop(number)
        elif path.startswith("/reset"):
            self.h2.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
            self.streams.pop(number)
        elif path.startswith("/http1"):
            self.h2.reset_stream(number, ErrorCodes.HTTP_1_1_REQUIRED)
            self.streams.pop(number)
        elif path.startswith("/torn"):
            self.h2.send_headers(number, [(":status", "200")])
            self.h2.send_data(number, b"x" * 100)
            # Not before what was sent so far has been passed on.
            asyncio.get_running_loop().call_later(0.3, self.tear, number)

    def tear(self, number):
        self.h2.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
        self.streams.pop(number)
        self.flush()

    def refuse(self, number):
        """Says that it has not looked at a call."""
        self.h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
        self.streams.pop(number)

    def goaway(self, last):
        """Says good-bye: what came after this stream is not looked at."""
        self.h2.close_connection(last_stream_id=last)
        # What is under way is finished, which the library would not do by itself.
        self.h2.state_machine.state = type(self.h2.state_machine.state).SERVER_OPEN

    def ended(self, number, stream, path):
        """What is done when the whole request is there."""
        if path.startswith(("/never", "/hold", "/torn")):
            return
        if path.startswith("/whole-and-refused") and path not in seen_before:
            seen_before.add(path)
            return self.refuse(number)
        if path.startswith("/big"):
            self.h2.send_headers(number, [(":status", "200"), ("content-length", str(len(BIG)))])
            return self.send(number, BIG, [])
        if path.startswith("/duplex"):
            return self.send(number, b"", [("x-end", "seen")])
        if path.startswith("/trailers"):
            self.h2.send_headers(number, [(":status", "200"), ("trailer", "x-sum")])
            return self.send(number, b"body", [("x-sum", "4"), ("connection-specific", "no")])
        if path.startswith("/hints"):
            for _ in range(50):
                self.h2.send_headers(number, [(":status", "103"), ("link", "</a.css>")])
        if path.startswith("/grpc"):
            self.h2.send_headers(number, [(":status", "200"), ("content-type", "application/grpc")],
                                 end_stream=path.endswith("head"))
            if path.endswith("head"):
                return self.over(number)
            return self.send(number, b"\0\0\0\0\1x", [("x-sum", "1")] if path.endswith("trailers") else [])
        if path.startswith("/log-in"):
            self.h2.send_headers(number, [(":status", "401"), ("www-authenticate", "Basic realm=\"a\", NTLM")],
                                 end_stream=True)
            return self.over(number)
        if path.startswith("/nothing"):
            self.h2.send_headers(number, [(":status", "204")], end_stream=True)
            return self.over(number)
        if path.startswith("/die-in-pairs"):
            self.pair = getattr(self, "pair", 0) + 1
            return self.transport.abort() if self.pair == 2 else None
        if path.startswith("/die"):
            return self.transport.abort()
        body = json.dumps(
            {
                "headers": stream.headers,
                "body": stream.body.decode("latin-1"),
                "trailers": stream.trailers,
                "number": self.number,
                "alpn": self.alpn,
                "stream": number,
            }
        ).encode()
        fields = [(":status", "200"), ("content-type", "application/json"), ("content-length", str(len(body)))]
        if stream.field(":method") == "HEAD":
            self.h2.send_headers(number, fields, end_stream=True)
            return self.over(number)
        wait = options.get("wait", 0)
        if wait:
            asyncio.get_running_loop().call_later(wait, self.late, number, fields, body)
        else:
            self.h2.send_headers(number, fields)
            self.send(number, body, [])

    def late(self, number, fields, body):
        if number in self.streams and not self.transport.is_closing():
            self.h2.send_headers(number, fields)
            self.send(number, body, [])
            self.flush()

    def send(self, number, data, last=None):
        """Sends as far as the other side takes it; `last`: and then trailers, or none, and the end."""
        stream = self.streams[number]
        stream.to_send, stream.sent = stream.to_send[stream.sent :] + data, 0
        if last is not None:
            stream.last = last
        self.push(number)

    def push(self, number):
        stream = self.streams.get(number)
        if stream is None:
            return
        while stream.sent < len(stream.to_send):
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room <= 0:
                tell(event="full", stream=number)
                return
            self.h2.send_data(number, stream.to_send[stream.sent : stream.sent + room])
            stream.sent += room
        if stream.last is not None:
            if stream.last:
                self.h2.send_headers(number, stream.last, end_stream=True)
            else:
                self.h2.end_stream(number)
            self.over(number)

    def over(self, number):
        self.streams.pop(number, None)
        tell(event="answered", number=self.number, stream=number)


async def main():
    context = None
    if "certificate" in options:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
        context.set_alpn_protocols(options.get("alpn", ["h2"]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends with the test, which asks now and then whether it has heard everything.
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        tell(event="mark", mark=line.strip())


asyncio.run(main())
