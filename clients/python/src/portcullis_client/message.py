"""HTTP messages as they are on the wire, as far as signatures look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .errors import SigningError

if TYPE_CHECKING:
    from collections.abc import Iterable

Field = tuple[str, str]

_CREDENTIALS = frozenset({"authorization", "x-api-key", "signature", "signature-input"})
_PREFIXES = ("x-fo-", "x-api-")


@dataclass(frozen=True)
class Request:
    """A request as it is sent. Texts are bytes read as ISO-8859-1.

    `target` is path and query of the request line, `host` the value of `Host`, which is not among the `headers`.
    """

    method: str
    scheme: str
    host: str
    target: str
    headers: tuple[Field, ...]
    body: bytes

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target.partition('?')[0]}>"


@dataclass(frozen=True)
class Answer:
    """A response as it came. The `body` is what was on the wire, before any `Content-Encoding` is undone."""

    status: int
    headers: tuple[Field, ...]
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}>"


class Exchange(Protocol):
    """A signed request, and what is known of it when its answer comes."""

    @property
    def request(self) -> Request:
        """What is to be sent."""

    def open(self, answer: Answer) -> bytes:
        """Verifies an answer, and returns its body, decrypted if it was encrypted.

        Raises GatewayError if the gateway has refused the call, VerificationError if the answer is not proved, and
        SealError if it cannot be opened.
        """


class Dialect(Protocol):
    """How calls are signed and answers verified."""

    @property
    def name(self) -> str:
        """`fo`, `api`, `http` or `plain`."""

    def sign(self, request: Request, token: str | None = None) -> Exchange:
        """Signs a request, with a user's or client's token in it if there is one. Raises SigningError."""

    def for_logins(self) -> Dialect:
        """How calls to the gateway's endpoints for logins are made."""

    def reads(self, status: int) -> bool:
        """Whether an answer with this status is read whole, to be verified and opened."""

    def wants_keys(self) -> bool:
        """Whether the gateway's public keys are to be fetched before the next call."""

    def learn_keys(self, document: bytes) -> None:
        """Takes the JWK set that the gateway publishes. Raises VerificationError if it cannot be read."""


def is_credential(name: str) -> bool:
    """Whether a field of a request proves somebody, or belongs to one signature."""
    name = name.lower()
    return name in _CREDENTIALS or name.startswith(_PREFIXES)


def framed(headers: Iterable[Field], body: bytes) -> tuple[Field, ...]:
    """The fields of a request whose body is held whole: Host stands elsewhere, and its length is said, not found out."""
    framing = {"host", "content-length", "transfer-encoding"}
    fields = tuple(headers)
    kept = tuple(pair for pair in fields if pair[0].lower() not in framing)
    has_body = body or any(name.lower() in framing - {"host"} for name, _ in fields)
    return (*kept, ("Content-Length", str(len(body)))) if has_body else kept


def checked(headers: Iterable[Field]) -> tuple[Field, ...]:
    """Fields whose text is one line each. Raises SigningError."""
    fields = tuple(headers)
    for name, value in fields:
        if any(char in "\r\n\0" for char in name + value):
            raise SigningError(f"a line end in the header field {name!r}")
    return fields
