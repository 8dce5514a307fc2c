#!/usr/bin/env python3
"""Instructions and allocations per call, counted by callgrind: figures that another load on the machine does not move.

    bench/instructions.py [--calls N] [--keep DIR | --do-only] [WORK ...]

Each work is done twice, with N and with 2 N calls over one connection kept alive; what the second run has more is what
N calls cost, start and stop left out. `--keep` leaves the profiles of the longer runs in DIR, for callgrind_annotate.
With `--do-only` the work is done and nothing counted, for a binary that counts by itself.
Needs valgrind, and a release build; one with line tables (CARGO_PROFILE_RELEASE_DEBUG=line-tables-only) tells more.
Works in HTTP/2 need h2load (nghttp2-client), which makes 64 calls at once, or nginx, which is the service.
"""

import argparse
import http.client
import os
import pathlib
import re
import socket
import stat
import subprocess
import tempfile
from contextlib import contextmanager

import signing
from gateway import Gateway, backend
from peers.proxy import free_port

# What Rust asks of the allocator that is built in.
ALLOCATES = {"mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned"}


def open_route(gateway, url, **more):
    """A GET through an open route."""
    gateway.admin("PUT", "/services/orders/v1", {"targets": [{"url": url}], "require": [], **more})
    return {}


def open_route_over_http2(gateway, url):
    """The same, and the service is spoken to in HTTP/2."""
    return open_route(gateway, url, protocol="h2c")


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


def posted(gateway, url, require, template):
    """A POST of 1 KiB that has to show something; `template` makes the call of a path and an API key."""
    client = signing.client_name(0)
    gateway.admin("PUT", "/services/orders/v1", {"targets": [{"url": url}], "require": [[require]]})
    gateway.admin("POST", "/clients", {"name": client, "access_key": client, "services": ["*"],
                                       "secret_key": signing.secret_of(client)})
    return template("/orders/v1/items/7?page=2", gateway.admin("POST", f"/clients/{client}/api-keys")["api_key"])


def post_with_key(gateway, url):
    """A POST with an API key alone."""
    return posted(gateway, url, "api_key", signing.with_key)


def post_signed(gateway, url):
    """The same signed in fomalhaut's dialect `fo`, and its answer too."""
    return posted(gateway, url, "signature", lambda path, _: signing.signed(path))


def post_sealed(gateway, url):
    """The same sealed, and its answer too."""
    return posted(gateway, url, "signature", lambda path, _: signing.sealed("openssl", path))


@contextmanager
def http1_service():
    """The base URL of a service in HTTP/1.1."""
    yield backend()


@contextmanager
def http2_service():
    """The base URL of a service in HTTP/2, in clear."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        port, configuration = free_port(), pathlib.Path(directory, "nginx.conf")
        server = f"listen 127.0.0.1:{port} http2; keepalive_requests 1000000000;"
        configuration.write_text(f"daemon off; master_process off; pid {directory}/pid; events {{}}\n"
                                 f"http {{ access_log off; server {{ {server} location / {{ return 200 ok; }} }} }}\n")
        command = ["nginx", "-p", directory, "-c", configuration, "-e", f"{directory}/errors"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def over_http1(gateway, headers, calls):
    """Calls one after the other."""
    connection = http.client.HTTPConnection(gateway.calls)
    for _ in range(calls):
        connection.request("GET", PATH, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, body) == (200, b"ok"), (answer.status, body)
    connection.close()


def over_http2(gateway, headers, calls):
    """Calls in HTTP/2, many at once on one connection."""
    fields = [field for name, value in headers.items() for field in ("-H", f"{name}: {value}")]
    command = ["h2load", "-n", str(calls), "-c", "1", "-m", "64", *fields, f"http://{gateway.calls}{PATH}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"{calls} succeeded, 0 failed" in said and f"status codes: {calls} 2xx" in said, said


def over_http1_by_template(gateway, template, calls):
    """Calls one after the other, each signed anew."""
    host, port = gateway.calls.split(":")
    with socket.create_connection((host, int(port))) as connection:
        for _ in range(calls):
            status, _, body = signing.exchanged(connection, template.filled())
            assert status == 200, (status, body)


PATH = "/orders/v1/items/7?page=2"
# What is declared, who makes the calls, and who answers them.
WORKS = {
    "open": (open_route, over_http1, http1_service),
    "guarded": (guarded, over_http1, http1_service),
    "h2": (open_route, over_http2, http1_service),
    "h2_upstream": (open_route_over_http2, over_http1, http2_service),
    "post_with_key": (post_with_key, over_http1_by_template, http1_service),
    "post_signed": (post_signed, over_http1_by_template, http1_service),
    "post_sealed": (post_sealed, over_http1_by_template, http1_service),
}


def under_callgrind(binary, directory):
    """A command that runs the gateway under callgrind, with the profile in the directory."""
    path = f"{directory}/gateway"
    with open(path, "w") as file:
        file.write(f'#!/bin/sh\nexec valgrind -q --tool=callgrind --callgrind-out-file={directory}/profile '
                   f'"{binary}" "$@"\n')
    os.chmod(path, stat.S_IRWXU)
    return path


def do(work, gateway, calls):
    """Does the work with a gateway that is started for it."""
    declare, call, service = WORKS[work]
    with service() as url, gateway:
        call(gateway, declare(gateway, url), calls)


def run(work, calls, keep):
    """Instructions and allocations of a whole run with so many calls."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway("--workers", "1")
        gateway.binary = under_callgrind(os.path.abspath(gateway.binary), directory)
        do(work, gateway, calls + 100)
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
    arguments.add_argument("--do-only", action="store_true")
    given = arguments.parse_args()
    if given.do_only:
        for work in given.works or WORKS:
            do(work, Gateway("--workers", "1"), given.calls)
        return
    print(f"{'work':13} {'instructions':>13} {'allocations':>12}   per call")
    for work in given.works or WORKS:
        once = run(work, given.calls, None)
        twice = run(work, 2 * given.calls, given.keep)
        instructions, allocations = ((more - less) / given.calls for less, more in zip(once, twice))
        print(f"{work:13} {instructions:13,.0f} {allocations:12.1f}", flush=True)


if __name__ == "__main__":
    main()
