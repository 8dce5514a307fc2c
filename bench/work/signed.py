"""Signed and sealed calls: what they cost beside the same calls with an API key, and what clients and uploads cost."""

import hashlib
import multiprocessing
import os
import socket
import time
from contextlib import ExitStack, contextmanager

import signing
from measure import load
from measure.processes import Watch
from peers.proxy import Clients

from .item import Column, Item, expect

SCRIPT = f"{os.path.dirname(os.path.abspath(__file__))}/signed.lua"
# How often two loads take turns within a sample.
TURNS = 3
FEW_CLIENTS, MANY_CLIENTS = 10, 10_000
UPLOAD, PIECE = 1 << 30, bytes(range(256)) * 256


def _path(proxy):
    return f"{proxy.plan.prefix}/post"


def _answered(proxy, request):
    """Status, fields and body of the answer to a call that is given as bytes."""
    return signing.exchanged_once(f"127.0.0.1:{proxy.port}", request)


class _Caller:
    """Makes calls of one kind on a proxy, as many as go through."""

    def __init__(self, proxy, setting, template, clients=1):
        self.proxy, self.setting, self.seconds, self.calls = proxy, setting, 0.0, 0
        sent, signed = proxy.directory / "sent", proxy.directory / "signed"
        sent.write_bytes(template.sent)
        signed.write_bytes(template.signed)
        self.arguments, self.runs, self.clients = (str(sent), str(signed), str(clients)), 0, clients

    def run(self, seconds):
        """Calls for so long."""
        self.runs += 1
        arguments = (*self.arguments, f"{os.urandom(6).hex()}-{self.runs}-")
        return load.wrk(self.setting.generator, self.proxy.url("/post"), seconds, script=SCRIPT, arguments=arguments)

    def warm(self):
        """Calls for a second, and on until every client has called twice: what only the first call costs is not measured."""
        done = self.run(1).calls
        while done < 2 * self.clients:
            done += self.run(1).calls

    def turn(self):
        """Calls once more while it is measured."""
        found = self.setting.measured(self.proxy, lambda: self.run(self.setting.seconds))
        self.seconds += found["cpu_us"] * found["calls"] / 1e6
        self.calls += found["calls"]

    @property
    def cpu_us(self):
        """What a call has cost in all turns."""
        return self.seconds / self.calls * 1e6


def _in_turn(one, other):
    """What two kinds of calls cost, measured by turns so that a noisy machine is noisy for both."""
    one.warm()
    other.warm()
    for _ in range(TURNS):
        one.turn()
        other.turn()
    return {"base_us": one.cpu_us, "cpu_us": other.cpu_us, "own_ratio": other.cpu_us / one.cpu_us}


def _with_key(proxy, setting):
    template = signing.with_key(_path(proxy), proxy.plan.clients.api_key)
    expect("a call with a key", _answered(proxy, template.filled())[::2], (200, b"1024\n"))
    expect("a call with another", _answered(proxy, template.filled().replace(b"bench-key", b"wrong-key"))[0], 401)
    return _Caller(proxy, setting, template)


def _prove_signed(proxy, template, opened=bytes):
    """A signed call passes once, and its answer is signed; one that was changed does not pass."""
    call = template.filled()
    status, fields, body = _answered(proxy, call)
    expect("a signed call", (status, opened(body)), (200, b"1024\n"))
    expect("the signature of its answer", signing.is_signed(_path(proxy), fields, body), True)
    expect("the same call again", _answered(proxy, call)[0], 949)
    changed = template.filled()
    expect("a call that was changed", _answered(proxy, changed[:-1] + b"y")[0], 949)


def _against_key(peer, setting, template, opened=bytes):
    with ExitStack() as held:
        keyed = held.enter_context(peer(setting.tools, setting.plan(clients=Clients(require="api_key"))))
        proxy = held.enter_context(peer(setting.tools, setting.plan(clients=Clients())))
        template = template(_path(proxy))
        _prove_signed(proxy, template, opened)
        return _in_turn(_with_key(keyed, setting), _Caller(proxy, setting, template))


def _signed(peer, setting):
    return _against_key(peer, setting, signing.signed)


def _sealed(peer, setting):
    openssl = setting.tools.openssl
    return _against_key(peer, setting, lambda path: signing.sealed(openssl, path), lambda body: signing.unsealed(openssl, body))


def _clients(peer, setting):
    with ExitStack() as held:
        callers = []
        for count in (FEW_CLIENTS, MANY_CLIENTS):
            clients = Clients(count=count, scoped=True)
            proxy = held.enter_context(peer(setting.tools, setting.plan(clients=clients)))
            template = signing.signed(_path(proxy))
            _prove_signed(proxy, template)
            for number in (1, count - 1):
                name = signing.client_name(number)
                expect(f"a call of {name}", _answered(proxy, template.filled(name))[0], 200)
            callers.append(_Caller(proxy, setting, template, count))
        return _in_turn(*callers)


def _counting(listener, cores):
    """Answers every request with the length of its body and the digest, when it has read all of it."""
    os.sched_setaffinity(0, cores)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            while head := _head(file):
                left, digest = int(head.get("content-length", 0)), hashlib.sha256()
                length = left
                while left and (piece := file.read1(min(left, 1 << 20))):
                    left -= len(piece)
                    digest.update(piece)
                if left:
                    break
                body = f"{length} {digest.hexdigest()}\n".encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _head(file):
    """The fields of a request; nothing at the end."""
    if not file.readline():
        return None
    lines = iter(lambda: file.readline().strip(), b"")
    return {name.strip().lower(): value.strip() for name, value in (line.decode("latin-1").split(":", 1) for line in lines)} or {"": ""}


@contextmanager
def _counter(cores):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    process = multiprocessing.Process(target=_counting, args=(listener, cores), daemon=True)
    process.start()
    try:
        yield listener.getsockname()[1]
    finally:
        process.kill()
        process.join()
        listener.close()


def _peak(pid):
    """The most resident memory of a process since it was last reset, in bytes."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024


def _uploaded(proxy, length, spoilt=False):
    """Uploads so many bytes in pieces: what came back, and in how many seconds."""
    digest, sent = hashlib.sha256(), length // len(PIECE)
    for _ in range(sent):
        digest.update(PIECE)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        begin = time.perf_counter()
        connection.sendall(signing.upload_head(f"{proxy.plan.prefix}/upload", length, digest.digest()))
        for number in range(sent):
            last = spoilt and number == sent - 1
            connection.sendall(bytes(len(PIECE)) if last else PIECE)
        status, _, body = signing.exchanged(connection, b"")
        return (status, body), digest.hexdigest(), time.perf_counter() - begin


def _upload(peer, setting):
    generator = {int(it) for it in setting.generator.split(",")}
    with _counter(generator) as port:
        plan = setting.plan(targets=(("127.0.0.1", port),), clients=Clients())
        with peer(setting.tools, plan) as proxy:
            pid = proxy.pid
            small = 16 * len(PIECE)
            answer, digest, _ = _uploaded(proxy, small)
            expect("a small upload", answer, (200, f"{small} {digest}\n".encode()))
            expect("one that was changed", _uploaded(proxy, small, spoilt=True)[0][0] in (400, 401, 502), True)
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")
            before = _peak(pid)
            with Watch(pid) as watch:
                answer, digest, took = _uploaded(proxy, UPLOAD)
            expect("the upload", answer, (200, f"{UPLOAD} {digest}\n".encode()))
            after = _peak(pid)
    # The digest of what is sent is computed within the watch, and is not the proxy's.
    setting.foreign = max(setting.foreign, watch.foreign)
    return {"before_mib": before / 2**20, "peak_mib": after / 2**20, "grown_mib": (after - before) / 2**20,
            "mib_a_second": UPLOAD / 2**20 / took, "cpu_ms": watch.cpu.both * 1e3}


def _verifies(peer):
    return peer.verifies


def _compared(base, other):
    return (Column("own_ratio", f"{other} to {base}", 3), Column("base_us", f"CPU µs per call, {base}"),
            Column("cpu_us", f"CPU µs per call, {other}"))


HELD = (
    Column("before_mib", "MiB before"),
    Column("peak_mib", "MiB at most"),
    Column("grown_mib", "more"),
    Column("mib_a_second", "MiB/s", 0),
    Column("cpu_ms", "CPU ms", 0),
)
ITEMS = (
    Item("signed-post", "POST of 1 KiB signed in fo, the answer signed, against the same with an API key", _signed,
         _compared("with a key", "signed"), main="own_ratio", fits=_verifies, reference=None),
    Item("sealed-post", "The same sealed: path, fields, body and answer encrypted", _sealed, _compared("with a key", "sealed"),
         main="own_ratio", fits=_verifies, reference=None),
    Item("clients", f"Signed calls of {MANY_CLIENTS:,} clients with a route each against {FEW_CLIENTS}", _clients,
         _compared("few", "many"), main="own_ratio", fits=_verifies, reference=None),
    Item("signed-upload", "An upload of 1 GiB signed by RFC 9421, passed on while it is verified", _upload, HELD,
         main="peak_mib", fits=_verifies, reference=None, needs=None),
)
