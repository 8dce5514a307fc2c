#!/usr/bin/env python3
"""Ten services against ten thousand: start, how soon a change is visible, memory, and CPU per call.

Both gateways run at the same time, with one worker each; calls go to one and the other in turn, so that a noisy
machine is noisy for both. CPU is what the process itself was charged. A third gateway is the backend; `wrk` (from
the distribution's packages) is the caller.
"""

import http.client
import os
import re
import statistics
import subprocess
import sys
import time

from gateway import Gateway

MANY = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
ROUNDS, SECONDS = 7, 2
TICK = os.sysconf("SC_CLK_TCK")


def cpu(gateway):
    with open(f"/proc/{gateway.process.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def declare(gateway, count, url):
    body = {"targets": [{"url": url}], "require": []}
    for number in range(count):
        gateway.admin("PUT", f"/services/service-{number}/v1", body)


def calls(gateway, count):
    """CPU seconds per call under `wrk`, with one connection in sixteen calling at a time."""
    before = cpu(gateway)
    url = f"http://{gateway.calls}/service-{count // 2}/v1/"
    said = subprocess.run(["wrk", "-t1", "-c16", f"-d{SECONDS}", url], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    return (cpu(gateway) - before) / int(re.search(r"(\d+) requests in", said)[1])


def visible(gateway, url):
    taken = []
    for number in range(50):
        start = time.perf_counter()
        gateway.admin("PUT", f"/services/new-{number}/v1", {"targets": [{"url": url}], "require": []})
        connection = http.client.HTTPConnection(gateway.calls)
        connection.request("GET", f"/new-{number}/v1/")
        assert connection.getresponse().status == 200
        taken.append(time.perf_counter() - start)
    return taken


def main():
    with Gateway() as backend, Gateway("--workers", "1") as few, Gateway("--workers", "1") as many:
        url = f"http://{backend.calls}/-/health"
        declare(few, 10, url)
        before = many.memory()
        declare(many, MANY, url)
        each = (many.memory() - before) / MANY
        ratios = []
        for _ in range(ROUNDS):
            of_few, of_many = calls(few, 10), calls(many, MANY)
            ratios.append(of_many / of_few)
        print(f"CPU per call with {MANY} services against 10: median ratio {statistics.median(ratios):.3f} "
              f"[{min(ratios):.3f} to {max(ratios):.3f}] over {ROUNDS} rounds; last {of_many * 1e6:.1f} us")
        taken = visible(many, url)
        print(f"a change is made and called after: median {statistics.median(taken) * 1e3:.1f} ms, longest {max(taken) * 1e3:.1f} ms")
        print(f"memory of a service that nobody calls: {each / 1024:.1f} KiB")
        many.restart()
        print(f"start with {MANY} services to the first answer: {many.started * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
