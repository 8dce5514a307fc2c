#!/usr/bin/env python3
"""Ten thousand idle connections and 64 busy ones at once: that all are served, and what an idle one costs."""

import http.client
import resource
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from gateway import Gateway, backend

IDLE = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
BUSY, CALLS = 64, 200


def busy(address):
    connection = http.client.HTTPConnection(address)
    for _ in range(CALLS):
        connection.request("GET", "/open/v1/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"ok")


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    assert most > IDLE + 1_000, f"the limit of open files, {most}, is too low"
    url = backend()
    with Gateway("--limits-connections-per-peer", str(IDLE + 1_000)) as gateway:
        gateway.admin("PUT", "/services/open/v1", {"targets": [{"url": url}], "require": []})
        busy(gateway.calls)
        before = gateway.memory()
        host, port = gateway.calls.split(":")
        idle = []
        for _ in range(IDLE):
            connection = socket.create_connection((host, int(port)))
            connection.sendall(b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            idle.append(connection)
        with_idle = gateway.memory()
        start = time.perf_counter()
        with ThreadPoolExecutor(BUSY) as pool:
            for done in [pool.submit(busy, gateway.calls) for _ in range(BUSY)]:
                done.result()
        took = time.perf_counter() - start
        for connection in idle[:: max(1, IDLE // 100)]:
            connection.sendall(b"GET /-/health HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        print(f"{BUSY * CALLS} calls over {BUSY} connections beside {IDLE} idle ones in {took:.2f} s (a Python client)")
        print(f"memory before {before / 2**20:.1f} MiB, an idle connection {(with_idle - before) / IDLE / 1024:.1f} KiB")


if __name__ == "__main__":
    main()
