#!/usr/bin/env python3
"""Instructions and allocations per call, counted by callgrind: figures that another load on the machine does not move.

    bench/instructions.py [--calls N] [--keep DIR] [WORK ...]

Each work is done twice, with N and with 2 N calls over one connection kept alive; what the second run has more is what
N calls cost, start and stop left out. `--keep` leaves the profiles of the longer runs in DIR, for callgrind_annotate.
Needs valgrind, and a release build; one with line tables (CARGO_PROFILE_RELEASE_DEBUG=line-tables-only) tells more.
"""

import argparse
import http.client
import os
import re
import stat
import tempfile

from gateway import Gateway, backend

# What Rust asks of the allocator that is built in.
ALLOCATES = {"mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned"}


def open_route(gateway, url):
    """A GET through an open route."""
    gateway.admin("PUT", "/services/orders/v1", {"targets": [{"url": url}], "require": []})
    return {}


def guarded(gateway, url):
    """A GET with a user's token, already met, an API key and a rate limit."""
    policies = {"rate_limit": {"rate": 1_000_000, "per": "1s"}}
    gateway.admin("PUT", "/services/orders/v1", {"targets": [{"url": url}], "policies": policies})
    gateway.admin("POST", "/users", {"username": "ada", "password": "correct horse"})
    gateway.admin("POST", "/clients", {"name": "shop", "services": ["*"]})
    key = gateway.admin("POST", "/clients/shop/api-keys")["api_key"]
    connection = http.client.HTTPConnection(gateway.calls)
    connection.request("POST", "/-/token", '{"username": "ada", "password": "correct horse"}',
                       {"Content-Type": "application/json"})
    answer = connection.getresponse().read().decode()
    token = re.search(r'"access_token":"([^"]+)"', answer)[1]
    return {"Authorization": f"Bearer {token}", "X-API-Key": key}


WORKS = {"open": open_route, "guarded": guarded}


def under_callgrind(binary, directory):
    """A command that runs the gateway under callgrind, with the profile in the directory."""
    path = f"{directory}/gateway"
    with open(path, "w") as file:
        file.write(f'#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file={directory}/profile '
                   f'"{binary}" "$@"\n')
    os.chmod(path, stat.S_IRWXU)
    return path


def run(work, calls, keep):
    """Instructions and allocations of a whole run with so many calls."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway("--workers", "1")
        gateway.binary = under_callgrind(os.path.abspath(gateway.binary), directory)
        with gateway:
            headers = WORKS[work](gateway, backend())
            connection = http.client.HTTPConnection(gateway.calls)
            for _ in range(calls + 100):
                connection.request("GET", "/orders/v1/items/7?page=2", headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                assert (answer.status, body) == (200, b"ok"), (answer.status, body)
            connection.close()
        if keep:
            os.makedirs(keep, exist_ok=True)
            os.replace(f"{directory}/profile", f"{keep}/{work}")
        return counts(f"{keep}/{work}" if keep else f"{directory}/profile")


def counts(profile):
    """What a profile counts."""
    names, instructions, allocations, callee = {}, 0, 0, None
    with open(profile) as file:
        for line in file:
            if line.startswith("cfn="):
                number, _, name = line[4:].strip().partition(" ")
                if name:
                    names[number] = name
                callee = names[number]
            elif line.startswith("fn="):
                number, _, name = line[3:].strip().partition(" ")
                if name:
                    names[number] = name
            elif line.startswith("calls=") and callee in ALLOCATES:
                allocations += int(line[6:].split()[0])
            elif line.startswith(("summary:", "totals:")):
                instructions = int(line.split()[1])
    return instructions, allocations


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("works", nargs="*", choices=[*WORKS, []], metavar="WORK", help=", ".join(WORKS))
    arguments.add_argument("--calls", type=int, default=2_000)
    arguments.add_argument("--keep")
    given = arguments.parse_args()
    print(f"{'work':10} {'instructions':>13} {'allocations':>12}   per call")
    for work in given.works or WORKS:
        once = run(work, given.calls, None)
        twice = run(work, 2 * given.calls, given.keep)
        instructions, allocations = ((more - less) / given.calls for less, more in zip(once, twice))
        print(f"{work:10} {instructions:13,.0f} {allocations:12.1f}", flush=True)


if __name__ == "__main__":
    main()
