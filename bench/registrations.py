#!/usr/bin/env python3
"""Services that register themselves one after the other: how long each takes, and how soon each can be called.

Prints the medians of the first and the last tenth; a cost that does not grow with the number of services gives
a ratio near 1.
"""

import http.client
import json
import statistics
import sys
import time

from gateway import Gateway, backend

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 2000


def main():
    url = backend()
    with Gateway() as gateway:
        token = gateway.admin("POST", "/enrolment-tokens", {"name": "bench"})["token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(gateway.calls)
        taken, visible = [], []
        for number in range(COUNT):
            body = json.dumps({"name": f"service-{number}", "base_url": url})
            start = time.perf_counter()
            connection.request("POST", "/-/register", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
            done = time.perf_counter()
            while True:
                # 401 is the service's own answer to a call without credentials; 404 would be no route yet.
                connection.request("GET", f"/service-{number}/v1/")
                answer = connection.getresponse()
                answer.read()
                if answer.status == 401:
                    break
            visible.append(time.perf_counter() - done)
            taken.append(done - start)
        tenth = COUNT // 10
        first, last = statistics.median(taken[:tenth]), statistics.median(taken[-tenth:])
        print(f"{COUNT} registrations in {sum(taken):.2f} s")
        print(f"median of the first tenth {first * 1e3:.2f} ms, of the last {last * 1e3:.2f} ms, ratio {last / first:.2f}")
        print(f"callable after the answer: median {statistics.median(visible) * 1e3:.2f} ms, longest {max(visible) * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
