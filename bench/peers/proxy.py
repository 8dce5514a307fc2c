"""One proxy, started for one measurement with what a plan asks of it."""

import http.client
import pathlib
import random
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field


class NotStarted(Exception):
    """A proxy did not answer; with what it said."""


@dataclass(frozen=True)
class Gate:
    """The work of a gateway: verify an RS256 token and an API key, limit, and log each call as JSON to a file."""

    public_pem: str
    jwks: str
    issuer: str
    audience: str
    api_key: str
    per_second: int


@dataclass(frozen=True)
class Clients:
    """Who calls: so many clients, each with a secret of its own. The first has an API key as well."""

    # What a call has to show.
    require: str = "signature"
    count: int = 1
    # Whether each client has a route of its own, and nobody else has one.
    scoped: bool = False
    api_key: str = "bench-key-0123456789abcdef0123456789"


@dataclass(frozen=True)
class Plan:
    """What a proxy shall do. Routes are `/s0/v1/` to `/sN/v1/`, and all lead to the targets with their path kept."""

    targets: tuple = ()
    workers: int = 1
    cores: str = "1"
    tls: tuple = ()
    websocket: bool = False
    routes: int = 1
    connections: int = 1_000
    gate: Gate | None = field(default=None, repr=False)
    clients: Clients | None = field(default=None, repr=False)

    @property
    def prefix(self):
        """The path of the route that is called: the one in the middle."""
        return f"/s{self.routes // 2}/v1"

    @property
    def prefixes(self):
        """The paths of all routes."""
        return [f"/s{number}/v1" for number in range(self.routes)]


def free_port():
    """A port nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Proxy:
    """A process in front of the targets, pinned to its cores; it runs inside the block."""

    name = ""
    # What it can do, and whether it is compared where nothing but forwarding is asked.
    plain = tls = many = True
    gate = False
    # Whether it verifies signed calls.
    verifies = False
    # Whether it is called with tokens it has issued itself, of which nobody has as many as of others.
    issues = False
    # Whether it only passes bytes on, and so can be no more than a lower bound.
    bare = False

    def __init__(self, tools, plan):
        self.tools, self.plan = tools, plan

    @classmethod
    def program(cls, tools):
        """The path of the program, or None if it is not here."""
        raise NotImplementedError

    def command(self):
        """Writes the configuration into `self.directory` and says how the program is started on `self.port`."""
        raise NotImplementedError

    def environment(self):
        """The variables it is started with, or None for those of this process."""
        return None

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory(prefix="portcullis-bench-", ignore_cleanup_errors=True)
        self.directory = pathlib.Path(self.held.name)
        self.port = free_port()
        command = ["taskset", "-c", self.plan.cores, *self.command()]
        begin = time.perf_counter()
        with open(self.directory / "output", "wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self.environment())
        try:
            self._answers()
        except BaseException:
            self.__exit__()
            raise
        self.started = time.perf_counter() - begin
        return self

    def _answers(self):
        """Waits for the first call that is answered as it should be: by the target, or by a gate that wants credentials."""
        wanted = (401, 404) if self.plan.gate or self.plan.clients else (200,)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                if self.call("/small")[0] in wanted:
                    return
                time.sleep(0.001)
            except (OSError, http.client.HTTPException):
                time.sleep(0.001)
        said = (self.directory / "output").read_text(errors="replace")[-1500:]
        raise NotStarted(f"{self.name} does not answer: {said}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.held.cleanup()

    @property
    def pid(self):
        """The process everything of this proxy descends from."""
        return self.process.pid

    def url(self, path):
        """The address of a path on the route that is called."""
        scheme = "https" if self.plan.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.plan.prefix}{path}"

    def call(self, path, method="GET", body=None, headers=None, timeout=5):
        """One call on a connection of its own: status and body."""
        if self.plan.tls:
            import ssl

            unverified = ssl.create_default_context()
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=unverified)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, f"{self.plan.prefix}{path}", body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def own_tokens(self, _count):
        """A file with tokens this proxy has issued itself, for one that is to be measured with those."""
        return None

    def access_log(self):
        """The file with a line for each call, where the plan has a gate."""
        return self.directory / "access.log"
