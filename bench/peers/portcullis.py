"""Portcullis through what it offers everybody: flags, the admin API, and a file of declarations."""

import http.client
import json
import pathlib
import time

from gateway import Gateway
from signing import client_name, secret_of

from .proxy import Proxy

USER, PASSWORD = "bench", "a password for the bench alone"


class _Pinned(Gateway):
    """A gateway whose binary is the one the comparison was told of."""

    def __init__(self, binary, *flags, before):
        super().__init__(*flags, before=before)
        self.binary = binary


class Portcullis(Proxy):
    """The gateway. It writes its access log, with a line for each call, in every measurement; the others only where asked."""

    name = "portcullis"
    gate = verifies = True

    @classmethod
    def program(cls, tools):
        return tools.portcullis

    @property
    def binary(self):
        """The program."""
        return self.program(self.tools)

    def __enter__(self):
        plan = self.plan
        flags = ["--workers", str(plan.workers), "--limits-connections-per-peer", str(plan.connections + 10_000),
                 "--timeouts-keep-alive", "600s", "--log-access-log-max-bytes", "64GiB"]
        if plan.clients:
            # One client alone sends more calls in ten minutes than are meant to be remembered of it.
            flags += ["--limits-nonce-bytes", "8GiB", "--limits-body-bytes", "0"]
        if plan.tls:
            certificate, key = plan.tls
            flags += ["--tls-listen", "127.0.0.1:0", "--tls-certificates", f"{certificate}:{key}"]
        self.gateway = _Pinned(self.binary, *flags, before=("taskset", "-c", plan.cores))
        self.gateway.__enter__()
        self.directory = pathlib.Path(self.gateway.directory.name)
        try:
            self._declare()
            self._take_port()
            self._answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.gateway.__exit__()

    @property
    def process(self):
        """The gateway's process."""
        return self.gateway.process

    @property
    def started(self):
        """Seconds from a start on what has been declared to the first answered call of a service."""
        self.gateway.stop()
        begin = time.perf_counter()
        self.gateway.start()
        self._take_port()
        self._answers()
        return time.perf_counter() - begin

    def _take_port(self):
        address = self.gateway.calls_over_tls if self.plan.tls else self.gateway.calls
        self.port = int(address.rsplit(":", 1)[1])

    def _declare(self):
        plan = self.plan
        service = {"require": [], "policies": {}}
        if plan.gate:
            key = {"algorithm": "RS256", "issuer": plan.gate.issuer, "pem": plan.gate.public_pem, "kid": "bench"}
            limit = {"rate": plan.gate.per_second, "per": "1s"}
            service = {"require": [["bearer", "api_key"]], "audiences": [plan.gate.audience],
                       "policies": {"bearer": {"keys": [key]}, "rate_limit": limit}}
        if plan.clients:
            service = {"require": [[plan.clients.require]], "policies": {"signature": {"stream": True}},
                       "default_route": not plan.clients.scoped}
        services = {}
        for number, prefix in enumerate(plan.prefixes):
            # The service's own path is taken off, so the targets have it in theirs: the call arrives as it came.
            targets = [{"url": f"http://{host}:{port}{prefix}"} for host, port in plan.targets]
            services[f"s{number}/v1"] = {**service, "targets": targets}
        clients, routes = {"bench": {"services": ["*"]}}, {}
        if plan.clients:
            clients = self._clients()
        if plan.clients and plan.clients.scoped:
            path = {"prefix": f"{plan.prefix}/"}
            routes = {name: {"match": {"path": path, "client": name}, "service": "s0/v1", "strip": True} for name in clients}
        said = {"version": 1, "services": services, "clients": clients, "routes": routes}
        self.gateway.admin("PUT", "/declarations", said)
        for name in clients if plan.clients else ():
            self.gateway.admin("POST", f"/clients/{name}/secrets", {"secret": secret_of(name)})
        if plan.clients:
            self.gateway.admin("POST", f"/clients/{client_name(0)}/api-keys", {"api_key": plan.clients.api_key})
        if plan.gate:
            self.gateway.admin("POST", "/clients/bench/api-keys", {"api_key": plan.gate.api_key})


    def _clients(self):
        names = [client_name(number) for number in range(self.plan.clients.count)]
        return {name: {"services": ["*"], "access_key": name} for name in names}


class PortcullisProfiled(Portcullis):
    """The same, built by `./release` for what it does most."""

    name = "portcullis profiled"

    @classmethod
    def program(cls, tools):
        return tools.profiled


class PortcullisIssuing(Portcullis):
    """The gateway with tokens of its own (ES256), which belong to a session that can be ended at any time."""

    name = "portcullis own tokens"
    plain = verifies = False
    issues = True

    def own_tokens(self, count):
        self.gateway.admin("POST", "/users", {"username": USER, "password": PASSWORD})
        issued = self._issued("/-/token", {"username": USER, "password": PASSWORD})
        path = self.directory / "tokens.txt"
        with open(path, "w") as file:
            for _ in range(count):
                file.write(f"{issued['access_token']}\n")
                issued = self._issued("/-/token/refresh", {"refresh_token": issued["refresh_token"]})
        return path

    def _issued(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Content-Type": "application/json", "X-API-Key": self.plan.gate.api_key}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status)
        return json.loads(text)
