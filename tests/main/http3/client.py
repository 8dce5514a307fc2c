"""A client over HTTP/3, with aioquic. The program says what it has seen."""

import asyncio
import socket
import ssl
import sys
import time

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamReset

scenario, address, roots, *rest = sys.argv[1:]
host, port = address.rsplit(":", 1)


class Call:
    def __init__(self):
        self.heads, self.body, self.ended = [], b"", asyncio.get_running_loop().create_future()

    def end(self, how):
        if not self.ended.done():
            self.ended.set_result(how)

    @property
    def status(self):
        return dict(self.heads[-1 if len(self.heads) == 1 else 0])[b":status"].decode()


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http, self.calls, self.goaway = H3Connection(self._quic), {}, asyncio.Event()
        self.stopped = []
        if scenario == "takes_little":
            # Of every answer, and never any more.
            self._quic._local_max_stream_data_bidi_local = int(rest.pop())
            self._quic._write_stream_limits = lambda **_: None
        check = self.http._check_control_frame_type

        def look(kind):
            # It does not tell of a GOAWAY.
            if kind == 7:
                self.goaway.set()
            check(kind)

        self.http._check_control_frame_type = look

    def quic_event_received(self, event):
        if isinstance(event, StopSendingReceived):
            self.stopped.append(f"{event.error_code:x}")
        if isinstance(event, StreamReset) and event.stream_id in self.calls:
            self.calls[event.stream_id].end(f"reset {event.error_code:x}")
        if isinstance(event, ConnectionTerminated):
            for call in self.calls.values():
                call.end(f"closed {event.error_code:x}")
        for event in self.http.handle_event(event):
            call = self.calls.get(event.stream_id)
            if isinstance(event, HeadersReceived):
                call.heads.append(event.headers)
            elif isinstance(event, DataReceived):
                call.body += event.data
            if event.stream_ended:
                call.end("whole")

    def begin(self, path, method="GET", extra=(), end=True):
        stream = self._quic.get_next_available_stream_id()
        self.calls[stream] = Call()
        fields = [(":method", method), (":scheme", "https"), (":authority", f"api.example.com:{port}"), (":path", path)]
        fields = [(name.encode(), value.encode()) for name, value in [*fields, *extra]]
        self.http.send_headers(stream, fields, end_stream=end)
        self.transmit()
        return stream

    async def call(self, path, method="GET", extra=(), body=None, trailers=()):
        stream = self.begin(path, method, extra, end=body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self.http.send_headers(stream, trailers, end_stream=True)
        self.transmit()
        call = self.calls[stream]
        assert (how := await call.ended) == "whole", how
        return call


async def get(client):
    call = await client.call("/orders/v1/7?x=1")
    fields = dict(call.heads[0])
    print(call.status, fields[b"alt-svc"].decode(), len(fields[b"date"]), fields[b"content-length"].decode() == str(len(call.body)))
    # It expects the body of a HEAD.
    client.http._check_content_length, check = lambda stream: None, client.http._check_content_length
    call = await client.call("/orders/v1/x", method="HEAD")
    client.http._check_content_length = check
    print(call.status, len(call.body))
    call = await client.call("/nobody/v1")
    print(call.status, dict(call.heads[0])[b"content-type"].decode())


async def bodies(client):
    body = bytes(number % 253 for number in range(2_000_000))
    call = await client.call("/orders/v1/", method="POST", extra=[("content-length", str(len(body)))], body=body)
    print(call.status, call.body == body)
    call = await client.call("/orders/v1/", method="POST", body=body[:70_000])
    print(call.status, call.body == body[:70_000])


async def many(client):
    answered = await asyncio.gather(*(client.call(f"/orders/v1/{number}") for number in range(500)))
    print({call.status for call in answered}, all(f'"/{at}"'.encode() in call.body for at, call in enumerate(answered)))


async def trailers(client):
    extra = [("te", "trailers"), ("trailer", "x-in")]
    call = await client.call("/orders/v1/", method="POST", extra=extra, body=b"hi", trailers=[(b"x-in", b"7")])
    print(call.heads[0][0][1].decode(), call.body.decode(), call.heads[1])


async def hints(client):
    call = await client.call("/orders/v1/")
    print([[value.decode() for _, value in head][:2] for head in call.heads[:-1]], dict(call.heads[-1])[b":status"].decode())


async def broken(client):
    call = client.calls[client.begin("/orders/v1/broken")]
    print(await call.ended, call.body.decode())
    print((await client.call("/orders/v1/small")).status)


async def short(client):
    """Bodies that are not as long as they were said to be."""
    for length in ["5", "9"]:
        extra = [("content-length", length)]
        stream = client.begin("/orders/v1/short", method="POST", extra=extra, end=False)
        client.http.send_data(stream, b"1234567", end_stream=True)
        client.transmit()
        call = client.calls[stream]
        await call.ended
        print(dict(call.heads[0])[b":status"].decode())


async def early(client):
    """An answer that does not wait for the request's body."""
    stream = client.begin("/nobody/v1", method="POST", extra=[("content-length", "9")], end=False)
    call = client.calls[stream]
    print(await call.ended, call.status)
    while not client.stopped:
        await client.ping()
    print(client.stopped)


async def large_head(client):
    call = await client.call("/orders/v1/", extra=[(f"x-large-{number}", "x" * 2_000) for number in range(35)])
    print(call.status)


async def endless_head(client):
    """A frame that is said to be very long, of which much is sent."""
    stream = client._quic.get_next_available_stream_id()
    client.calls[stream] = call = Call()
    client._quic.send_stream_data(stream, encode_uint_var(1) + encode_uint_var(1 << 40) + b"x" * 64_000_000)
    client.transmit()
    print(await call.ended)


async def stalled(client):
    """Opens no window for one answer, and takes the next."""
    write = client._quic._write_stream_limits

    def limits(builder, space, stream):
        if stream.stream_id != 0:
            write(builder=builder, space=space, stream=stream)

    client._quic._write_stream_limits = limits
    call = client.calls[client.begin("/orders/v1/large")]
    print((await call.ended).split()[0])
    other = await client.call("/orders/v1/large")
    print(other.status, len(other.body))


async def takes_little(client):
    print(await client.calls[client.begin("/orders/v1/little", extra=[("te", "trailers")])].ended)


async def silence(client):
    """Is silent in a call of gRPC, and then takes nothing of the answer, each for longer than a body may."""
    opened, write = False, client._quic._write_stream_limits

    def limits(builder, space, stream):
        if opened or stream.stream_id != 0:
            write(builder=builder, space=space, stream=stream)

    client._quic._write_stream_limits = limits
    extra = [("content-type", "application/grpc"), ("te", "trailers")]
    call = client.calls[client.begin("/orders/v1/demo.Echo/Chat", method="POST", extra=extra, end=False)]
    client.http.send_data(0, b"\0\0\0\0\5", end_stream=False)
    client.transmit()
    await asyncio.sleep(3)
    client.http.send_data(0, b"hello", end_stream=True)
    client.transmit()
    while len(call.body) < 1_000_000 and not call.ended.done():
        await client.ping()
    await asyncio.sleep(3)
    opened = True
    await client.ping()
    print(await call.ended, len(call.body), dict(call.heads[-1])[b"grpc-status"].decode())


async def go_ahead(client):
    """The body is sent when it is wanted, and not before."""
    wait = [("expect", "100-continue"), ("content-length", "5")]
    said = lambda call: [dict(head)[b":status"].decode() for head in call.heads]
    call = client.calls[client.begin("/nobody/v1", method="POST", extra=wait, end=False)]
    await call.ended
    print(said(call))
    for extra in [wait, wait[:1]]:
        stream = client.begin("/orders/v1/", method="POST", extra=extra, end=False)
        call = client.calls[stream]
        while not call.heads:
            await client.ping()
        client.http.send_data(stream, b"hello", end_stream=True)
        client.transmit()
        await call.ended
        print(said(call))


async def until_goaway(client):
    """Calls, 20 at a time, until the other side says that it goes. Every call it has taken is answered."""
    answered, rejected = 0, 0

    async def one():
        nonlocal answered, rejected
        while not client.goaway.is_set():
            call = client.calls[client.begin("/orders/v1/")]
            how = await call.ended
            # Rejected is what was never looked at.
            assert how == "whole" or (how == "reset 10b" and not call.heads), how
            answered, rejected = answered + (how == "whole"), rejected + (how != "whole")

    await asyncio.gather(*(one() for _ in range(20)))
    assert client.goaway.is_set() and answered > 200, answered
    print("all answered")


async def kept(client):
    """Calls over one connection for as long as they are answered well."""
    while not client.goaway.is_set():
        call = client.calls[client.begin("/orders/v1/x")]
        how = await call.ended
        if how != "whole" or call.status != "200":
            print("ended" if how != "whole" else call.status)
            return
        await asyncio.sleep(0.05)
    print("goaway")


async def taken_back(client):
    """An answer that is taken, one that is not, an upload that never ends: what becomes of each."""
    client._quic._write_stream_limits = lambda **_: None
    key = [("x-api-key", rest.pop())]
    down, flood = (client.calls[client.begin(f"/orders/v1/{way}", extra=key)] for way in ["down", "flood"])
    stream = client.begin("/orders/v1/up", method="POST", extra=key, end=False)
    up = client.calls[stream]

    async def drip():
        while True:
            client.http.send_data(stream, b"x", end_stream=False)
            client.transmit()
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    while not (down.heads and flood.heads):
        await asyncio.sleep(0.05)
    print("open", flush=True)
    print("down", await down.ended)
    print("flood", await flood.ended)
    print("up", await up.ended, up.status, b'"code":"revoked"' in up.body)
    dripping.cancel()


async def expanding(client):
    """The same fields again and again, which stand in the table that everybody has."""
    sent = client._quic._network_paths[0].bytes_sent
    for _ in range(2_000):
        call = client.calls[client.begin("/orders/v1/x", extra=[("accept-encoding", "gzip, deflate, br")] * 110)]
        if await call.ended != "whole":
            print(client._quic._network_paths[0].bytes_sent - sent)
            return
    print("open")


async def certified(client):
    call = await client.call("/orders/v1/")
    print(call.status, dict(call.heads[0]).get(b"content-type", b"").decode())


async def unproven(client):
    """Begins many handshakes and ends none; then somebody comes who means it."""
    assert client._quic._retry_source_connection_id is None
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(64):
        half = QuicConnection(configuration=configuration())
        half.connect((host, int(port)), now=time.monotonic())
        for data, _ in half.datagrams_to_send(now=time.monotonic()):
            plain.sendto(data, (host, int(port)))
    async with connect(host, int(port), configuration=configuration(), create_protocol=Client) as other:
        asked = other._quic._retry_source_connection_id is not None
        print(asked, (await other.call("/orders/v1/")).status)


def configuration():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="api.example.com")
    configuration.load_verify_locations(roots)
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.idle_timeout = 20
    if len(rest) == 2:
        configuration.load_cert_chain(*rest)
    return configuration


async def main():
    async with connect(host, int(port), configuration=configuration(), create_protocol=Client) as client:
        await globals()[scenario](client)


asyncio.run(main())
