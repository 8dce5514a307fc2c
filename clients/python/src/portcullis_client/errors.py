"""What can go wrong, under one base class.

No error carries a secret or a token, neither in its text nor in its attributes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

FO_STATUS = 949
API_STATUS = 600

_LONGEST_TEXT = 300
_API_REFUSES_USER = "Bad Access Token"
_API_UNAVAILABLE = "Endpoint Request Error"


class PortcullisError(Exception):
    """The base of every error of this package."""


class SigningError(PortcullisError):
    """A request that cannot be signed as it is. Nothing was sent."""


class ForeignOriginError(SigningError):
    """A request to another origin than the gateway's: no credential goes there. Nothing was sent."""


class VerificationError(PortcullisError):
    """An answer that is not proved to be the gateway's answer to this request."""


class SealError(PortcullisError):
    """An encrypted text that cannot be opened."""


class AnswerTooLargeError(PortcullisError):
    """An answer with more bytes than are read for verification."""


class RedirectError(PortcullisError):
    """A redirect of a signed request was followed. It was sent without credentials, and its answer is not used."""


class UnsupportedError(PortcullisError):
    """The dialect has no such endpoint."""


class GatewayError(PortcullisError):
    """The gateway has refused a call, or a token server a token.

    `code` is the stable code: a number in the dialects `fo` and `api` (431), a text elsewhere
    (`"invalid_credential"`, `"invalid_client"`), None if the body could not be read. `status` is the status of the
    HTTP response, `request_id` what the call is found by in the gateway's log, `retry_after` the value of that field,
    `challenge` that of `WWW-Authenticate`.
    `verified` says whether the refusal was signed: one that comes before the gateway knows the caller is not.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | str | None,
        status: int,
        request_id: str | None = None,
        retry_after: str | None = None,
        challenge: str | None = None,
        verified: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.challenge = challenge
        self.verified = verified

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, {**vars(self)})

    def __str__(self) -> str:
        told = f"{self.message} (status {self.status}"
        if self.code is not None:
            told += f", code {self.code}"
        if self.request_id is not None:
            told += f", request {self.request_id}"
        return told + ")"

    @property
    def refuses_token(self) -> bool:
        """Whether the user's or client's token may be the reason."""
        if self.status == API_STATUS:
            return self.message.endswith(_API_REFUSES_USER)
        return 401 in (self.status, self.code) and may_be_of_token(self.challenge)

    @property
    def is_unavailable(self) -> bool:
        """Whether the gateway or the service was not there, or had no room."""
        if self.status == API_STATUS:
            return self.message.endswith(_API_UNAVAILABLE)
        return 503 in (self.status, self.code)


class LoginError(GatewayError):
    """A login, a change of a password or the like was refused."""


class SessionEndedError(GatewayError):
    """The session cannot be renewed any more: log in again."""


def may_be_of_token(challenge: str | None) -> bool:
    """Whether a 401 with this `WWW-Authenticate` may be because of a token: it may also be of another credential."""
    return challenge is None or "bearer" in challenge.lower()


def field(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The first value of a header field."""
    return next((value for found, value in headers if found.lower() == name), None)


def gateway_error(
    status: int, headers: Iterable[tuple[str, str]], body: bytes, *, verified: bool = False
) -> GatewayError | None:
    """The refusal that a response is: one of fomalhaut's forms, or problem details as the gateway writes them; else None."""
    headers = tuple(headers)
    kind = (field(headers, "content-type") or "").partition(";")[0].strip().lower()
    said = _object(body)
    code: object
    message: object
    if status == FO_STATUS:
        code, message = said.get("code"), said.get("message")
    elif status == API_STATUS:
        code, message = said.get("code"), said.get("msg")
    elif status >= 400 and kind == "application/problem+json" and {"code", "request_id"} <= said.keys():
        code, message = said["code"], said.get("detail") or said.get("title")
    else:
        return None
    return _refusal(status, headers, said, code, message, verified=verified)


def oauth_error(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> GatewayError:
    """The error that a token endpoint has answered (RFC 6749 section 5.2), or that it is none."""
    said = _object(body)
    if isinstance(said.get("error"), str):
        return _refusal(status, tuple(headers), said, said["error"], said.get("error_description"))
    return GatewayError(f"the token endpoint has answered with status {status}", code=None, status=status)


def _refusal(
    status: int,
    headers: tuple[tuple[str, str], ...],
    said: dict[str, Any],
    code: object,
    message: object,
    *,
    verified: bool = False,
) -> GatewayError:
    return GatewayError(
        _text(message) or f"refused with status {status}",
        code=_text(code) if isinstance(code, str) else code if isinstance(code, int) else None,
        status=status,
        request_id=_text(field(headers, "x-request-id") or said.get("request_id")),
        retry_after=_text(field(headers, "retry-after")),
        challenge=_text(field(headers, "www-authenticate")),
        verified=verified,
    )


def _again(kind: type[GatewayError], message: str, attributes: dict[str, Any]) -> GatewayError:
    """The error of another process."""
    return kind(message, **{name: value for name, value in attributes.items() if name != "message"})


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _text(value: object) -> str | None:
    """A text of the other side, fit for a line of a log."""
    if not isinstance(value, str) or not value:
        return None
    return "".join(char if char.isprintable() else "?" for char in value[:_LONGEST_TEXT])
