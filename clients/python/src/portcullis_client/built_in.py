"""The gateway's own endpoints for logins: what is asked in each dialect, and what the answers say. Without IO."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import GatewayError, LoginError, SessionEndedError, UnsupportedError, field, gateway_error
from .tokens import TokenPair, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .message import Answer


@dataclass(frozen=True)
class Ask:
    """A POST to an endpoint of the gateway. `token` says whether the call is made with the access token."""

    path: str
    body: Mapping[str, Any] | None = None
    with_token: bool = False

    def __repr__(self) -> str:
        return f"<Ask {self.path}>"

    def encoded(self) -> bytes:
        """The body in JSON, or none."""
        return b"" if self.body is None else json.dumps(self.body).encode()


class Endpoints:
    """The endpoints of the dialect `fo`; also the base of the others."""

    def login(self, credentials: Mapping[str, Any], *, sms: bool) -> Ask:
        """A login. What the credentials are, the gateway's users or the client's Auth API say."""
        return Ask("/auth/v1/login" + ("?login_type=sms" if sms else ""), credentials)

    def refresh(self, pair: TokenPair) -> Ask:
        """A new pair in place of this one."""
        return Ask("/auth/v1/token/refresh", {"refresh_token": pair.refresh_token})

    def alive(self, pair: TokenPair) -> Ask:
        """How long the access token is good."""
        return Ask("/auth/v1/token/alive", {"access_token": pair.access_token})

    def logout(self, pair: TokenPair) -> Ask:
        """The end of the session."""
        return Ask("/account/v1/logout", with_token=True)

    def change_password(self, change: Mapping[str, Any], *, sms: bool) -> Ask:
        """Another password."""
        return Ask("/account/v1/password/change" + ("?change_type=sms" if sms else ""), change, with_token=True)

    def pair(self, answer: Answer, now: float, before: TokenPair | None = None) -> TokenPair:
        """The pair in the answer to a login, or to a refresh of the one `before`. Raises LoginError."""
        data = self.data(answer)
        info = data.get("user_info")
        if not isinstance(info, dict):
            info = before.user_info if before is not None else None
        access, refresh = data.get("access_token"), data.get("refresh_token")
        if not isinstance(access, str) or not isinstance(refresh, str) or not access or not refresh:
            raise _unreadable(answer)
        lifetime = self.lifetime(data.get("expires_in"), now, before)
        if lifetime is None:
            raise _unreadable(answer)
        return TokenPair(access, refresh, now + lifetime, lifetime, info)

    def lifetime(self, expires_in: object, now: float, before: TokenPair | None) -> float | None:
        """For how many seconds the access token is good: here it is said in seconds."""
        left = seconds(expires_in)
        return None if left is None else max(left, 0.0)

    def data(self, answer: Answer) -> dict[str, Any]:
        """What a successful answer says. Raises LoginError."""
        said = _object(answer)
        code, message = said.get("code"), said.get("msg")
        if answer.status == 200 and code == 200:
            data = said.get("data")
            return data if isinstance(data, dict) else {}
        if answer.status == 200 and isinstance(code, int):
            raise LoginError(
                _line(message) or f"refused with code {code}",
                code=code,
                status=answer.status,
                request_id=field(answer.headers, "x-request-id"),
            )
        raise _refused(answer)

    def remaining(self, answer: Answer) -> float | None:
        """For how many seconds the access token is good, None if it is not. Raises LoginError."""
        left = seconds(self.data(answer).get("expires_in"))
        return left if left is not None and left > 0 else None


class ApiEndpoints(Endpoints):
    """The endpoints of the dialect `api`."""

    def login(self, credentials: Mapping[str, Any], *, sms: bool) -> Ask:
        """A login."""
        if sms:
            raise UnsupportedError("logins by SMS are of the dialect 'fo'")
        return super().login(credentials, sms=False)

    def refresh(self, pair: TokenPair) -> Ask:
        """A new pair in place of this one."""
        return Ask("/auth/v1/token", {"refresh_token": pair.refresh_token})

    def alive(self, pair: TokenPair) -> Ask:
        """Not in this dialect."""
        raise UnsupportedError("the dialect 'api' has no endpoint that says how long a token is good")

    def logout(self, pair: TokenPair) -> Ask:
        """The end of the session."""
        return Ask("/auth/v1/logout", {"access_token": pair.access_token})

    def change_password(self, change: Mapping[str, Any], *, sms: bool) -> Ask:
        """Not in this dialect."""
        raise UnsupportedError("the dialect 'api' has no endpoint to change a password")

    def lifetime(self, expires_in: object, now: float, before: TokenPair | None) -> float | None:
        """For how many seconds: `expires_in` is the time of the end. A renewed pair comes without: as long as before."""
        if expires_in is None and before is not None:
            return before.lifetime
        end = seconds(expires_in)
        return None if end is None else max(end - now, 0.0)


class PlainEndpoints(Endpoints):
    """`/-/token` and its neighbours: for calls with `Authorization: Bearer`, signed or not."""

    def login(self, credentials: Mapping[str, Any], *, sms: bool) -> Ask:
        """A login with `username` and `password`."""
        if sms:
            raise UnsupportedError("logins by SMS are of the dialect 'fo'")
        return Ask("/-/token", credentials)

    def refresh(self, pair: TokenPair) -> Ask:
        """A new pair in place of this one."""
        return Ask("/-/token/refresh", {"refresh_token": pair.refresh_token})

    def alive(self, pair: TokenPair) -> Ask:
        """Not here: the token says it itself."""
        raise UnsupportedError("there is no such endpoint: 'expires_at' of the pair says how long the token is good")

    def logout(self, pair: TokenPair) -> Ask:
        """The end of the session."""
        return Ask("/-/token/revoke", {"refresh_token": pair.refresh_token})

    def change_password(self, change: Mapping[str, Any], *, sms: bool) -> Ask:
        """Not here."""
        raise UnsupportedError("passwords are changed in the dialect 'fo'")

    def data(self, answer: Answer) -> dict[str, Any]:
        """What a successful answer says. Raises LoginError."""
        if answer.status == 204:
            return {}
        if answer.status == 200:
            return _object(answer)
        raise _refused(answer)


def endpoints_of(dialect: str) -> Endpoints:
    """The endpoints that go with a dialect."""
    known = {"fo": Endpoints, "api": ApiEndpoints}
    return known.get(dialect, PlainEndpoints)()


def as_ended(error: GatewayError) -> GatewayError:
    """The refusal of a refresh: where it says that the token is not good, it is the end of the session."""
    is_no = (error.status == 200 and error.code in (400, 403)) or error.status == 401 or error.refuses_token
    if not is_no:
        return error
    return SessionEndedError(
        error.message,
        code=error.code,
        status=error.status,
        request_id=error.request_id,
        verified=error.verified,
    )


def _object(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _unreadable(answer) from None
    if not isinstance(said, dict):
        raise _unreadable(answer)
    return said


def _refused(answer: Answer) -> LoginError:
    known = gateway_error(answer.status, answer.headers, answer.body)
    if known is None:
        return _unreadable(answer)
    return LoginError(
        known.message,
        code=known.code,
        status=known.status,
        request_id=known.request_id,
        retry_after=known.retry_after,
        challenge=known.challenge,
    )


def _unreadable(answer: Answer) -> LoginError:
    return LoginError("the answer cannot be read", code=None, status=answer.status)


def _line(text: object) -> str | None:
    if not isinstance(text, str):
        return None
    return "".join(char if char.isprintable() else "?" for char in text[:300]) or None
