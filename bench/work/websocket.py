"""WebSockets through the proxies: 64 connections, on each a message goes there and comes back, again and again.

The echo and its caller are processes of their own beside the backend, written plainly: they are no faster than Python,
and need not be, since what counts is what a message costs the proxy.
"""

import base64
import hashlib
import multiprocessing
import os
import select
import socket
import time
from contextlib import contextmanager

from measure.load import CONNECTIONS, Load, LoadFailed

from .item import CALLS, Column, Item, expect, plain

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAYLOAD = bytes(ord("a") + at % 26 for at in range(100))
# RFC 6455 section 5.2: a whole binary message; a client's is masked, here with zeros, so that it reads as it is.
SENT = b"\x82" + bytes([0x80 | len(PAYLOAD)]) + b"\0\0\0\0" + PAYLOAD
RETURNED = b"\x82" + bytes([len(PAYLOAD)]) + PAYLOAD


def _head(connection):
    """Reads up to the end of a head; returns it and what came behind it."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(4096)
        if not piece:
            raise LoadFailed(f"a WebSocket was not opened: {read[:200]!r}")
        read += piece
    head, _, rest = read.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _field(head, name):
    return next((line.split(":", 1)[1].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name)), "")


def _accept(key):
    return base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()


def _echo(listener, cores):
    """Answers every request with a WebSocket, or plainly if none is wished, and every message with itself."""
    os.sched_setaffinity(0, cores)
    poll, open_ones, waiting = select.epoll(), {}, {}
    poll.register(listener, select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(connection, select.EPOLLIN)
                open_ones[connection.fileno()], waiting[connection.fileno()] = connection, None
                continue
            connection = open_ones[descriptor]
            try:
                if waiting[descriptor] is None:
                    waiting[descriptor] = _opened(connection)
                    continue
                piece = connection.recv(65_536)
            except (OSError, LoadFailed):
                piece = b""
            if not piece:
                poll.unregister(descriptor)
                connection.close()
                del open_ones[descriptor], waiting[descriptor]
                continue
            there = waiting[descriptor] + piece
            whole = len(there) // len(SENT)
            waiting[descriptor] = there[whole * len(SENT):]
            connection.sendall(b"".join(_returned(there[at * len(SENT):][: len(SENT)]) for at in range(whole)))


def _opened(connection):
    head, rest = _head(connection)
    key = _field(head, "sec-websocket-key")
    if not key:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        return None
    answer = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
              f"Sec-WebSocket-Accept: {_accept(key)}", "", "")
    connection.sendall("\r\n".join(answer).encode())
    return rest


def _returned(message):
    if message[:6] == SENT[:6]:
        return RETURNED[:2] + message[6:]
    # Masked anew on the way.
    mask = message[2:6]
    return RETURNED[:2] + bytes(byte ^ mask[at % 4] for at, byte in enumerate(message[6:]))


@contextmanager
def _echoing(cores):
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = multiprocessing.Process(target=_echo, args=(listener, cores), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.kill()
        process.join()
        listener.close()


def _opened_through(proxy):
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    asked = (f"GET {proxy.plan.prefix}/echo HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}", "Upgrade: websocket", "Connection: Upgrade",
             f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", "")
    connection.sendall("\r\n".join(asked).encode())
    head, _ = _head(connection)
    expect("the opening", (head.split(" ")[1], _field(head, "sec-websocket-accept")), ("101", _accept(key)))
    return connection


def _messages(connections, seconds):
    """Sends on each connection, and again whenever what was sent has come back."""
    by_number = {connection.fileno(): connection for connection in connections}
    left = dict.fromkeys(by_number, b"")
    poll = select.epoll()
    for connection in connections:
        poll.register(connection, select.EPOLLIN)
    done, start = 0, time.perf_counter()
    for connection in connections:
        connection.sendall(SENT)
    until = start + seconds
    while time.perf_counter() < until:
        events = poll.poll(20)
        if not events:
            raise LoadFailed("a WebSocket brings nothing back")
        for number, _ in events:
            left[number] += by_number[number].recv(4096)
            if len(left[number]) < len(RETURNED):
                continue
            if left[number] != RETURNED:
                raise LoadFailed(f"a WebSocket brings back {left[number][:40]!r}")
            left[number] = b""
            done += 1
            by_number[number].sendall(SENT)
    took = time.perf_counter() - start
    # What is under way comes back before the next load begins.
    for number, connection in by_number.items():
        while len(left[number]) < len(RETURNED):
            left[number] += connection.recv(4096)
    return Load(done, took)


def _sample(peer, setting):
    generator = {int(it) for it in setting.generator.split(",")}
    before = os.sched_getaffinity(0)
    with _echoing(generator) as port:
        plan = setting.plan(targets=(("127.0.0.1", port),), websocket=True)
        with peer(setting.tools, plan) as proxy:
            connections = [_opened_through(proxy) for _ in range(CONNECTIONS)]
            os.sched_setaffinity(0, generator)
            try:
                _messages(connections, 1)
                found = setting.measured(proxy, lambda: _messages(connections, setting.seconds))
            finally:
                os.sched_setaffinity(0, before)
                for connection in connections:
                    connection.close()
    return {**found, "per_cpu_second": 1e6 / found["cpu_us"]}


COLUMNS = (
    Column("rate", "messages/s", 0),
    Column("cpu_us", "CPU µs per message, there and back"),
    Column("user_us", "user"),
    Column("kernel_us", "kernel"),
    Column("per_cpu_second", "messages per CPU second", 0),
)
ITEMS = (Item("websocket", "WebSocket messages of 100 bytes there and back, 64 connections", _sample, COLUMNS, fits=plain,
              needs=None),)
