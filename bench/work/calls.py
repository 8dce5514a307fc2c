"""Calls through an open route: small ones, larger ones, over TLS, over HTTP/2."""

import re
import subprocess

from backend import LARGE, SMALL
from measure import load

from .item import CALLS, LATENCIES, Column, Item, expect, plain

POST = """
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
"""
CLOSE = {"Connection": "close"}


def _small(peer, setting):
    with peer(setting.tools, setting.plan()) as proxy:
        expect("a small answer", proxy.call("/small"), (200, SMALL))
        return setting.with_latencies(proxy, setting.saturated(proxy))


def _large(peer, setting):
    with peer(setting.tools, setting.plan()) as proxy:
        expect("a large answer", proxy.call("/large"), (200, LARGE))
        return setting.saturated(proxy, "/large")


def _post(peer, setting):
    with peer(setting.tools, setting.plan()) as proxy:
        # The backend answers with the length it was told; one that is told none was sent chunks.
        status, told = proxy.call("/post", "POST", b"x" * 1024)
        expect("an answer to a body", (status, told in (b"1024\n", b"\n")), (200, True))
        script = proxy.directory / "post.lua"
        script.write_text(POST)
        return setting.saturated(proxy, "/post", script=str(script))


def _tls(peer, setting):
    with peer(setting.tools, setting.plan(tls=setting.tls)) as proxy:
        expect("a small answer over TLS", proxy.call("/small"), (200, SMALL))
        expect("the handshake", handshake(setting.tools, proxy), ("New", "TLSv1.3", "X25519"))
        return setting.saturated(proxy)


def _handshakes(peer, setting):
    with peer(setting.tools, setting.plan(tls=setting.tls)) as proxy:
        expect("the handshake", handshake(setting.tools, proxy), ("New", "TLSv1.3", "X25519"))
        found = setting.saturated(proxy, headers=CLOSE)
        # The generator takes part in each handshake; what counts is what one costs the proxy.
        return {**found, "per_cpu_second": 1e6 / found["cpu_us"]}


def _http2(peer, setting):
    with peer(setting.tools, setting.plan(tls=setting.tls)) as proxy:
        expect("a small answer over TLS", proxy.call("/small"), (200, SMALL))

        def run(seconds):
            return load.h2load(setting.generator, proxy.url("/small"), seconds)

        run(1)
        return setting.measured(proxy, lambda: run(setting.seconds))


def handshake(tools, proxy):
    """What one handshake came to: new or resumed, version, group. wrk offers neither sessions nor other groups."""
    command = [tools.openssl, "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-servername", "localhost"]
    said = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False).stdout
    kind = re.search(r"^(New|Reused), (\S+?),", said, re.MULTILINE)
    group = re.search(r"Server Temp Key: (\w+)", said)
    return (*(kind.groups() if kind else ("none", "none")), group[1] if group else "none")


def _over_tls(peer):
    return plain(peer) and peer.tls


PER_SECOND = Column("per_cpu_second", "handshakes per CPU second", 0)
ITEMS = (
    Item("small-get", "GET of 3 bytes over HTTP/1.1, 64 connections", _small, (*CALLS, *LATENCIES), fits=plain, scales=True),
    Item("get-10k", "GET of 10 KiB", _large, fits=plain),
    Item("post-1k", "POST of 1 KiB", _post, fits=plain),
    Item("tls", "GET of 3 bytes over TLS 1.3, connections kept", _tls, fits=_over_tls),
    Item("handshakes", "A full TLS 1.3 handshake (ECDSA P-256, X25519) for each call", _handshakes, (*CALLS, PER_SECOND),
         fits=_over_tls),
    Item("http2", "GET of 3 bytes over HTTP/2 with TLS, 64 streams on 4 connections", _http2, fits=_over_tls,
         needs="h2load"),
)
