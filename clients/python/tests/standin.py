"""A stand-in for servers in unit tests: it answers as a test says, and signs as a gateway would, by code of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import threading
import time
from dataclasses import dataclass, field
from typing import Any

ACCESS_KEY = "shop-7Qm2"
SECRET = "a secret of more than sixteen bytes"


@dataclass
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        """The value of a field that stands once."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} stands twice"
        return found[0] if found else None


@dataclass
class Reply:
    """An answer. Without a body there is no Content-Length but 0."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    breaks: bool = False
    """Whether the connection is closed without an answer."""
    closes: bool = False
    """Whether the connection is closed behind it."""
    announced: int | None = None
    """A Content-Length other than that of the body."""


class StandIn(http.server.ThreadingHTTPServer):
    """Answers each request by `answer`, and keeps it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.lock = threading.Lock()
        self.answer: Any = lambda _: Reply()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that close early are what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        received = Received(self.command, self.path, list(self.headers.items()), self.read_body())
        with self.server.lock:
            self.server.received.append(received)
        reply = self.server.answer(received)
        if reply.breaks:
            self.close_connection = True
            return
        has_body = self.command != "HEAD" and reply.status not in (204, 304)
        lines = [f"HTTP/1.1 {reply.status} Said"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if has_body:
            lines.append(f"Content-Length: {len(reply.body) if reply.announced is None else reply.announced}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (reply.body if has_body else b""))

        self.close_connection = self.close_connection or reply.closes

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def text_of(method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> bytes:
    """The string to sign of a dialect, for fields that are given as they are signed."""
    lines = sorted(f"{name.lower()}: {value}" for name, value in fields)
    return f"{method}\n{target}\n{chr(10).join(lines)}\n".encode() + body


def mac(dialect: str, text: bytes, secret: str = SECRET, algorithm: str = "sha1") -> str:
    """The signature of a string."""
    if dialect == "fo":
        return base64.urlsafe_b64encode(hmac.new(secret.encode(), text, algorithm).digest()).rstrip(b"=").decode()
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    return base64.b64encode(hmac.new(secret.encode(), digest, "sha256").digest()).decode()


def prefix_of(dialect: str) -> str:
    return {"fo": "X-Fo-", "api": "X-Api-"}[dialect]


def is_well_signed(dialect: str, received: Received, algorithm: str = "sha1") -> bool:
    """Whether a request is signed as the dialect says."""
    prefix = prefix_of(dialect).lower()
    signed = [
        (name, value)
        for name, value in received.headers
        if name.lower() == "host" or (name.lower().startswith(prefix) and name.lower() != prefix + "signature")
    ]
    text = text_of(received.method, received.target, signed, received.body)
    return received.get(prefix + "signature") == mac(dialect, text, algorithm=algorithm)


def signed(
    dialect: str, received: Received, reply: Reply, *, encrypted: bool = False, now: float | None = None, **more: str
) -> Reply:
    """The reply as a gateway signs it. `more` replaces fields, by their names without the prefix."""
    if reply.breaks:
        return reply
    prefix = prefix_of(dialect)
    own = {
        "Encrypt-Type": "aes" if encrypted else "raw",
        "Timestamp": str(int(time.time() if now is None else now)),
        "Nonce": "of the answer",
        "Request-Nonce": received.get(prefix + "Nonce") or "",
        "Status": str(reply.status),
    }
    own.update({name.replace("_", "-"): value for name, value in more.items()})
    fields = [(prefix + name, value) for name, value in own.items()]
    algorithm = "sha256" if len(received.get(prefix + "Signature") or "") == 43 else "sha1"
    body = b"" if received.method == "HEAD" or reply.status in (204, 304) else reply.body
    signature = mac(dialect, text_of(received.method, received.target, fields, body), algorithm=algorithm)
    return Reply(
        reply.status,
        [*reply.headers, *fields, (prefix + "Signature", signature)],
        reply.body,
        announced=reply.announced,
    )
