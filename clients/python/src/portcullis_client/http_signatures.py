"""Calls signed by HTTP message signatures (RFC 9421) and Content-Digest (RFC 9530), and answers bound to them."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .components import component, content_digest, digest_matches, signature_base
from .errors import SigningError, VerificationError, field, gateway_error
from .keys import PrivateKey, Secret, SigningKey, VerifyingKey, read_key_set
from .message import Answer, Dialect, Field, Request, checked
from .plain import Plain
from .structured import InnerList, Item, Parameters, parse_dictionary, serialize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LABEL = "sig1"
_LABEL_OF_ANSWERS = "portcullis"
_KEYS_ARE_GOOD_FOR = 300.0
_MAX_AGE = 300.0
_SKEW = 60.0
_OWN = frozenset({"signature", "signature-input", "content-digest"})
# With one of these, the gateway takes a call for one of another dialect.
_OF_OTHERS = ("x-fo-", "x-api-access-key")


class HttpSignatures:
    """HTTP message signatures with a `Secret` or a `PrivateKey`.

    Method, address, the digest of the body, `Content-Type` and `Authorization` are covered, and the fields that `covered`
    names. `public_url` is the gateway's, if it is known under another address than the one that is called. `tag` is that of
    the gateway's setting `http_tag`.

    `verify` (the default) takes only answers which the gateway has signed as the answer to this one request (its setting
    `sign_answers`). Answers to calls with a private key are signed by the gateway's own key: `answer_keys` pins it, as a JWK
    set in JSON; without it, it is fetched from the gateway, which proves as much as TLS does. An answer is at most `max_age`
    seconds old, and the clocks may differ by `skew` seconds.
    """

    name = "http"

    def __init__(
        self,
        key: Secret | PrivateKey,
        *,
        public_url: str | None = None,
        covered: Sequence[str] = (),
        tag: str | None = None,
        api_key: str | None = None,
        verify: bool = True,
        answer_keys: bytes | str | None = None,
        max_age: float = _MAX_AGE,
        skew: float = _SKEW,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self._key: SigningKey = key
        self._public = None if public_url is None else _origin(public_url)
        self._covered = tuple(name.lower() for name in covered)
        self._tag = tag
        self._api_key = api_key
        self._verify = verify
        self._max_age = max_age
        self._skew = skew
        self._clock = clock
        self._nonce = nonce
        self._secret = key if isinstance(key, Secret) else None
        self._pinned = answer_keys is not None
        self._answer_keys: Mapping[str, VerifyingKey] = {}
        self._fetched: float | None = None
        if answer_keys is not None:
            self._answer_keys = read_key_set(answer_keys.encode() if isinstance(answer_keys, str) else answer_keys)
            if not self._answer_keys:
                raise ValueError("no key in 'answer_keys'")

    def __repr__(self) -> str:
        return f"HttpSignatures({self._key!r})"

    def for_logins(self) -> Dialect:
        """How calls to the endpoints for logins are made: `/-/token` takes no signature, and gives none."""
        return Plain(self._api_key)

    def reads(self, status: int) -> bool:
        """Whether an answer with this status is read whole."""
        return self._verify

    def wants_keys(self) -> bool:
        """Whether the gateway's public keys are to be fetched before the next call."""
        if not self._verify or self._secret is not None or self._pinned:
            return False
        return self._fetched is None or time.monotonic() - self._fetched > _KEYS_ARE_GOOD_FOR

    def learn_keys(self, document: bytes) -> None:
        """Takes the JWK set that the gateway publishes."""
        self._answer_keys = read_key_set(document)
        self._fetched = time.monotonic()

    def sign(self, request: Request, token: str | None = None) -> _Exchange:
        """Signs a request. Raises SigningError."""
        headers: list[Field] = []
        for name, value in checked(request.headers):
            lower = name.lower()
            if lower.startswith(_OF_OTHERS):
                raise SigningError(f"{name} is a field of another dialect")
            if lower in _OWN or (token is not None and lower == "authorization"):
                continue
            if lower == "x-api-key" and self._api_key is not None:
                continue
            headers.append((name, value))
        if token is not None:
            headers.append(("Authorization", f"Bearer {token}"))
        if self._api_key is not None:
            headers.append(("X-API-Key", self._api_key))
        covered = ["@method", "@target-uri"]
        if request.body:
            headers.append(("Content-Digest", content_digest(request.body)))
            covered.append("content-digest")
        covered += [name for name in ("content-type", "authorization") if field(headers, name) is not None]
        covered += [name for name in self._covered if name not in covered]
        checked(headers)
        sent = replace(request, method=request.method.upper(), headers=tuple(headers))
        parameters: Parameters = {
            "created": int(self._clock()),
            "keyid": self._key.keyid,
            "nonce": self._nonce(),
        }
        if self._tag is not None:
            parameters["tag"] = self._tag
        listed = InnerList(tuple(Item(name) for name in covered), parameters)
        try:
            base = signature_base(listed, self._seen(sent))
        except VerificationError as error:
            raise SigningError(str(error)) from None
        signature = serialize(Item(self._key.sign(base)))
        headers.append(("Signature-Input", f"{_LABEL}={serialize(listed)}"))
        headers.append(("Signature", f"{_LABEL}={signature}"))
        return _Exchange(self, replace(sent, headers=tuple(headers)))

    def _seen(self, request: Request) -> Request:
        """The request as the gateway sees it for signatures: with scheme and host of its public URL."""
        if self._public is None:
            return request
        scheme, host = self._public
        return replace(request, scheme=scheme, host=host)

    def _open(self, request: Request, answer: Answer) -> bytes:
        if not self._verify:
            return answer.body
        signature, inputs = (_joined(answer, name) for name in ("signature", "signature-input"))
        if signature is None or inputs is None:
            refusal = gateway_error(answer.status, answer.headers, answer.body)
            if refusal is not None:
                raise refusal
            raise VerificationError(f"the answer with status {answer.status} is not signed")
        covered = parse_dictionary(inputs).get(_LABEL_OF_ANSWERS)
        given = parse_dictionary(signature).get(_LABEL_OF_ANSWERS)
        if not isinstance(covered, InnerList) or not isinstance(given, Item) or not isinstance(given.value, bytes):
            raise VerificationError("the answer is not signed by the gateway")
        self._covers_enough(covered, answer)
        key = self._key_of(covered.parameters)
        if not key.holds(signature_base(covered, answer, self._seen(request)), given.value):
            raise VerificationError("the signature of the answer does not match")
        self._is_of_now(covered.parameters)
        digest = component(Item("content-digest"), answer)
        if digest_matches(digest, answer.body) is not True:
            raise VerificationError("the body of the answer is not the one that was signed")
        return answer.body

    @staticmethod
    def _covers_enough(covered: InnerList, answer: Answer) -> None:
        wanted = [
            Item("@status"),
            Item("content-digest"),
            Item("@method", {"req": True}),
            Item("@target-uri", {"req": True}),
            Item("signature", {"req": True, "key": _LABEL}),
        ]
        if field(answer.headers, "content-type") is not None:
            wanted.append(Item("content-type"))
        for item in wanted:
            if item not in covered.items:
                raise VerificationError(f"the signature of the answer does not cover {serialize(item)}")

    def _key_of(self, parameters: Parameters) -> VerifyingKey:
        keyid = parameters.get("keyid")
        key: VerifyingKey | None
        if self._secret is not None:
            key = self._secret if keyid == self._secret.keyid else None
        else:
            key = self._answer_keys.get(keyid) if isinstance(keyid, str) else None
            if key is None:
                # The next call looks whether the gateway has a new one.
                self._fetched = None
        if key is None:
            raise VerificationError("the answer is signed by a key that is not known")
        if parameters.get("alg", key.algorithm) != key.algorithm:
            raise VerificationError("the answer is signed by another algorithm than its key's")
        return key

    def _is_of_now(self, parameters: Parameters) -> None:
        now, created, expires = self._clock(), parameters.get("created"), parameters.get("expires")
        if not isinstance(created, int) or not now - self._max_age - self._skew <= created <= now + self._skew:
            raise VerificationError("the time of the answer is too far from this clock")
        if expires is not None and not (isinstance(expires, int) and now - self._skew <= expires):
            raise VerificationError("the signature of the answer has expired")


class _Exchange:
    """A signed call."""

    def __init__(self, dialect: HttpSignatures, request: Request) -> None:
        self._dialect = dialect
        self.request = request

    def open(self, answer: Answer) -> bytes:
        """Verifies the answer."""
        return self._dialect._open(self.request, answer)  # noqa: SLF001 (one subject)


def _joined(answer: Answer, name: str) -> str | None:
    values = [value.strip() for found, value in answer.headers if found.lower() == name]
    return ", ".join(values) if values else None


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ValueError("a URL begins with http:// or https:// and a host")
    return parts.scheme, parts.netloc
