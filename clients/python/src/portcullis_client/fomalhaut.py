"""The dialects `fo` and `api` of fomalhaut's clients: HMAC over method, target, fields and body, and encrypted calls.

docs/reference/signatures.md of Portcullis has every field and rule.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .errors import FO_STATUS, SealError, SigningError, VerificationError, gateway_error
from .message import Answer, Dialect, Field, Request, checked, framed
from .sealing import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Algorithm = Literal["sha1", "sha256"]

_FO_WINDOW = 600.0
_API_WINDOW = 3600.0
_ENDS_OF_PREFIX = 3
# These stay outside of an encrypted call: they are of the connection, or the gateway does not look at them inside.
_OUTSIDE = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# These the gateway ignores inside, and outside they would travel in clear.
_NEITHER = frozenset({"authorization", "x-api-key"})


@dataclass(frozen=True)
class _Names:
    """What a dialect calls its fields."""

    prefix: str
    signed: str
    """What the names of signed fields begin with."""
    client: str
    sign_answer: Field
    error_status: int
    block: int

    def of(self, rest: str) -> str:
        return self.prefix + rest


_FO = _Names("X-Fo-", "x-fo", "X-Fo-App-Id", ("X-Fo-Sign-Response", "1"), FO_STATUS, 16)
_API = _Names("X-Api-", "x-api-", "X-Api-Access-Key", ("X-Api-Require-Response-Signature", "true"), 600, 32)


def string_to_sign(
    method: str, target: str, headers: Iterable[Field], body: bytes, *, prefix: str, host: str | None = None
) -> bytes:
    """The bytes that are signed. `prefix` is `x-fo` or `x-api-`; `host` is given for requests only."""
    values: dict[str, list[str]] = {} if host is None else {"host": [host.strip(" \t")]}
    signature = f"{prefix.rstrip('-')}-signature"
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(prefix) and lower != signature:
            values.setdefault(lower, []).append(value.strip(" \t"))
    lines = sorted(f"{name}: {','.join(several)}".encode() for name, several in values.items())
    return b"\n".join([method.upper().encode(), target.encode(), b"\n".join(lines), body])


def signature_fo(secret_key: str, text: bytes, algorithm: Algorithm = "sha1") -> str:
    """The signature of a string in `fo`."""
    mac = hmac.digest(secret_key.encode(), text, algorithm)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def signature_api(secret_key: str, text: bytes) -> str:
    """The signature of a string in `api`."""
    digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    return base64.b64encode(hmac.digest(secret_key.encode(), digest, "sha256")).decode()


class _Fomalhaut:
    """What both dialects share. See `Fo` and `Api`."""

    _names: _Names
    name: str

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        *,
        seal: bool,
        sealed_path: str | None,
        verify: bool,
        bound_answers: bool,
        window: float,
        clock: Callable[[], float],
        nonce: Callable[[], str],
    ) -> None:
        if not access_key or not secret_key:
            raise ValueError("an access key and a secret key are needed")
        if seal and not verify:
            raise ValueError("encrypted calls need verified answers: what is not verified must not be decrypted")
        self.access_key = access_key
        self._secret_key = secret_key
        self._seal = seal
        self._sealed_path = sealed_path
        self._verify = verify
        self._bound = bound_answers
        self._window = window
        self._clock = clock
        self._nonce = nonce

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.access_key!r})"

    def _signature(self, text: bytes) -> str:
        raise NotImplementedError

    def for_logins(self) -> Dialect:
        """How calls to the endpoints for logins are signed: like all others."""
        return self

    def reads(self, status: int) -> bool:
        """Whether an answer with this status is read whole."""
        return self._verify or status == self._names.error_status

    def wants_keys(self) -> bool:
        """Whether public keys are needed: never."""
        return False

    def learn_keys(self, document: bytes) -> None:
        """Takes no public keys."""

    def sign(self, request: Request, token: str | None = None) -> _Exchange:
        """Signs a request, and encrypts it before that if it is to be. Raises SigningError."""
        names = self._names
        headers = [pair for pair in checked(request.headers) if not self._is_own(pair[0])]
        if token is not None:
            headers.append((names.of("Access-Token"), token))
        sent = replace(request, method=request.method.upper(), headers=tuple(headers))
        if self._seal:
            sent = self._sealed(sent)
        nonce = self._nonce()
        own = [
            (names.client, self.access_key),
            (names.of("Timestamp"), str(int(self._clock()))),
            (names.of("Nonce"), nonce),
            (names.of("Encrypt-Type"), "aes" if self._seal else "raw"),
        ]
        if self._verify:
            own.append(names.sign_answer)
        headers = [*sent.headers, *own]
        checked(own)
        text = string_to_sign(sent.method, sent.target, headers, sent.body, prefix=names.signed, host=sent.host)
        headers.append((names.of("Signature"), self._signature(text)))
        return _Exchange(self, replace(sent, headers=tuple(headers)), nonce)

    def _is_own(self, name: str) -> bool:
        """Whether a field is one that signing sets. Raises SigningError for one that would change the dialect."""
        lower, names = name.lower(), self._names
        if lower in {_FO.client.lower(), _API.client.lower()} and lower != names.client.lower():
            raise SigningError(f"{name} is a field of another dialect")
        own = {"timestamp", "nonce", "signature", "encrypt-type", "encrypted-uri", "encrypted-headers"}
        return (
            lower in {names.client.lower(), names.sign_answer[0].lower()} or lower.removeprefix(names.prefix.lower()) in own
        )

    def _sealed(self, request: Request) -> Request:
        """The outer request around an encrypted one."""
        names, block = self._names, self._names.block
        inner: dict[str, str] = {}
        outer: list[Field] = []
        for name, value in request.headers:
            lower = name.lower()
            if lower in _NEITHER:
                raise SigningError(f"{name} cannot be encrypted; give a user's token as 'tokens'")
            if lower in _OUTSIDE:
                outer.append((name, value))
                continue
            # In the spelling that came first, as one line.
            known = next((found for found in inner if found.lower() == lower), None)
            glue = "; " if lower == "cookie" else ", "
            inner[known or name] = value if known is None else inner[known] + glue + value
        body = seal(self._secret_key, request.body, block=block).encode() if request.body else b""
        outer = [("Content-Type", "application/octet-stream"), *framed(outer, body)]
        outer.append((names.of("Encrypted-Uri"), seal(self._secret_key, request.target.encode("latin-1"), block=block)))
        outer.append((names.of("Encrypted-Headers"), seal(self._secret_key, json.dumps(inner).encode(), block=block)))
        return replace(request, target=self._outer_target(request.target), headers=tuple(outer), body=body)

    def _outer_target(self, target: str) -> str:
        if self._sealed_path is not None:
            return self._sealed_path
        parts = target.partition("?")[0].split("/", _ENDS_OF_PREFIX)
        if len(parts) < _ENDS_OF_PREFIX or not all(parts[1:3]):
            raise SigningError("an encrypted call goes to /service/version/…; for another route, set 'sealed_path'")
        return f"/{parts[1]}/{parts[2]}/"

    def _open(self, exchange: _Exchange, answer: Answer) -> bytes:
        names = self._names
        if self._verify:
            signature = self._fields(answer).get("signature")
            if signature is None:
                refusal = gateway_error(answer.status, answer.headers, answer.body)
                if answer.status == names.error_status and refusal is not None:
                    raise refusal
                raise VerificationError(f"the answer with status {answer.status} is not signed")
            self._prove(exchange, answer, signature)
        body = self._unsealed(answer)
        if answer.status == names.error_status:
            refusal = gateway_error(answer.status, answer.headers, body, verified=self._verify)
            if refusal is not None:
                raise refusal
        return body

    def _fields(self, answer: Answer) -> dict[str, str]:
        """The dialect's fields of an answer, without the prefix."""
        prefix = self._names.prefix.lower()
        fields: dict[str, str] = {}
        for name, value in answer.headers:
            lower = name.lower()
            if lower.startswith(prefix):
                rest = lower.removeprefix(prefix)
                fields[rest] = f"{fields[rest]},{value.strip()}" if rest in fields else value.strip()
        return fields

    def _prove(self, exchange: _Exchange, answer: Answer, signature: str) -> None:
        sent, fields = exchange.request, self._fields(answer)
        text = string_to_sign(sent.method, sent.target, answer.headers, answer.body, prefix=self._names.signed)
        if not hmac.compare_digest(self._signature(text).encode(), signature.encode()):
            raise VerificationError("the signature of the answer does not match")
        stamp = fields.get("timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
            raise VerificationError("the answer has no time")
        if abs(self._clock() - int(stamp)) > self._window:
            raise VerificationError("the time of the answer is too far from this clock")
        if self._bound and (fields.get("request-nonce"), fields.get("status")) != (
            exchange.nonce,
            str(answer.status),
        ):
            raise VerificationError("this is the answer to another call, or its status was changed")

    def _unsealed(self, answer: Answer) -> bytes:
        if not answer.body:
            return answer.body
        kind = self._fields(answer).get("encrypt-type", "raw")
        if kind == "aes" and self._seal:
            try:
                return unseal(self._secret_key, answer.body)
            except SealError as error:
                raise VerificationError(str(error)) from None
        if kind != "raw":
            raise VerificationError("the answer is encrypted, and the call was not")
        if self._seal and answer.status != self._names.error_status:
            raise VerificationError("the answer is not encrypted, and the call was")
        return answer.body


class Fo(_Fomalhaut):
    """The dialect `fo`: fields `X-Fo-…`, HMAC-SHA1 unless `algorithm` is `"sha256"`, refusals with status 949.

    `seal` encrypts calls and opens answers. The outer call goes to `/service/version/` of the inner one, or to
    `sealed_path` for other routes. `verify` (the default) asks for signed answers and takes no others;
    `bound_answers` demands that they name this call and their status, which fomalhaut's own gateway does not do.
    `window` is how far, in seconds, the time of an answer may be from `clock`.
    """

    name = "fo"
    _names = _FO

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        *,
        algorithm: Algorithm = "sha1",
        seal: bool = False,
        sealed_path: str | None = None,
        verify: bool = True,
        bound_answers: bool = True,
        window: float = _FO_WINDOW,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        if algorithm not in ("sha1", "sha256"):
            raise ValueError("the algorithm is 'sha1' or 'sha256'")
        super().__init__(
            access_key,
            secret_key,
            seal=seal,
            sealed_path=sealed_path,
            verify=verify,
            bound_answers=bound_answers,
            window=window,
            clock=clock,
            nonce=nonce,
        )
        self._algorithm: Algorithm = algorithm

    def _signature(self, text: bytes) -> str:
        return signature_fo(self._secret_key, text, self._algorithm)


class Api(_Fomalhaut):
    """The dialect `api`: fields `X-Api-…`, HMAC-SHA256 of a SHA-1, refusals with status 600. Settings as of `Fo`."""

    name = "api"
    _names = _API

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        *,
        seal: bool = False,
        sealed_path: str | None = None,
        verify: bool = True,
        bound_answers: bool = True,
        window: float = _API_WINDOW,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        super().__init__(
            access_key,
            secret_key,
            seal=seal,
            sealed_path=sealed_path,
            verify=verify,
            bound_answers=bound_answers,
            window=window,
            clock=clock,
            nonce=nonce,
        )

    def _signature(self, text: bytes) -> str:
        return signature_api(self._secret_key, text)


class _Exchange:
    """A signed call of a dialect."""

    def __init__(self, dialect: _Fomalhaut, request: Request, nonce: str) -> None:
        self._dialect = dialect
        self.request = request
        self.nonce = nonce

    def open(self, answer: Answer) -> bytes:
        """Verifies and opens the answer."""
        return self._dialect._open(self, answer)  # noqa: SLF001 (one subject)


__all__ = ["Algorithm", "Api", "Fo", "signature_api", "signature_fo", "string_to_sign"]
