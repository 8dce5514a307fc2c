"""What grows: routes, targets, idle connections. And how soon a proxy that was started answers."""

import os
import socket

from backend import SMALL
from measure.processes import Watch, memory

from .item import Column, Item, expect, plain

FEW_ROUTES, MANY_ROUTES = 10, 10_000
MANY_TARGETS = 100
IDLE = (1_000, 10_000)


def _compared(peer, setting, few, many):
    """The same calls under two plans, one after the other, and what the second costs in terms of the first."""
    found = {}
    for key, plan in (("few", few), ("many", many)):
        with peer(setting.tools, plan) as proxy:
            expect("a small answer", proxy.call("/small"), (200, SMALL))
            found[key] = setting.saturated(proxy)
    few_us, many_us = found["few"]["cpu_us"], found["many"]["cpu_us"]
    return {"few_us": few_us, "cpu_us": many_us, "own_ratio": many_us / few_us, "rate": found["many"]["rate"]}


def _routes(peer, setting):
    return _compared(peer, setting, setting.plan(routes=FEW_ROUTES), setting.plan(routes=MANY_ROUTES))


def _targets(peer, setting):
    return _compared(peer, setting, setting.plan(), setting.plan(targets=setting.backend.targets(MANY_TARGETS)))


def _start(peer, setting):
    # Only what is foreign is asked of this watch: whatever it looks at belongs to the start.
    with Watch(os.getpid()) as watch, peer(setting.tools, setting.plan()) as proxy:
        found = {"start_ms": proxy.started * 1e3}
    setting.foreign = max(setting.foreign, watch.foreign)
    return found


def _memory(peer, setting):
    with peer(setting.tools, setting.plan(connections=max(IDLE))) as proxy:
        expect("a small answer", proxy.call("/small"), (200, SMALL))
        found, open_ones = {"idle_mib": memory(proxy.pid) / 2**20}, []
        try:
            for count in IDLE:
                open_ones += [_called(proxy) for _ in range(count - len(open_ones))]
                found[f"at_{count}_mib"] = memory(proxy.pid) / 2**20
            # They are all still open: what was measured is what so many cost.
            for connection in open_ones[:: max(1, len(open_ones) // 100)]:
                _call(proxy, connection)
        finally:
            for connection in open_ones:
                connection.close()
    found["connection_kib"] = (found[f"at_{IDLE[1]}_mib"] - found["idle_mib"]) * 1024 / IDLE[1]
    return found


def _called(proxy):
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    _call(proxy, connection)
    return connection


def _call(proxy, connection):
    connection.sendall(f"GET {proxy.plan.prefix}/small HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    read = b""
    while not read.endswith(SMALL):
        piece = connection.recv(4096)
        expect("a piece of an answer", bool(piece), True)
        read += piece
    expect("a small answer", read.split(b" ")[1], b"200")


def _routed(peer):
    return plain(peer) and peer.many


GROWTH = (
    Column("own_ratio", "many to few", 3),
    Column("few_us", "CPU µs per call, few"),
    Column("cpu_us", "CPU µs per call, many"),
)
HELD = (
    Column("idle_mib", "MiB, no connection"),
    Column("at_1000_mib", "MiB, 1,000 idle"),
    Column("at_10000_mib", "MiB, 10,000 idle"),
    Column("connection_kib", "KiB a connection"),
)
ITEMS = (
    Item("routes", f"{MANY_ROUTES:,} routes against {FEW_ROUTES}", _routes, GROWTH, main="own_ratio", fits=_routed, reference=None),
    Item("targets", f"{MANY_TARGETS} targets against 1", _targets, GROWTH, main="own_ratio", fits=_routed, reference=None),
    Item("memory", "Memory beside idle connections that have made a call", _memory, HELD, main="at_10000_mib", fits=_routed,
         needs=None),
    Item("start", "From the start to the first answered call", _start, (Column("start_ms", "ms", 1),), main="start_ms",
         fits=plain, needs=None),
)
