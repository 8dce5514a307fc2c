"""Access tokens by OAuth 2.0 client credentials (RFC 6749 section 4.4). Without IO."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_plus, urlencode, urlsplit

from .errors import VerificationError, oauth_error
from .single_flight import AsyncSingleFlight, SingleFlight
from .tokens import SHARE, SKEW, seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .message import Answer

ClientAuthentication = Literal["client_secret_basic", "client_secret_post"]

_SHORTEST = 1.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class OAuthClient:
    """A client at an OAuth 2.0 token endpoint. Its `repr` shows no secret.

    `more` are further parameters of the request, such as `audience` or `resource`. The endpoint is asked over TLS, except on
    the same machine.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    authentication: ClientAuthentication = "client_secret_basic"
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.token_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("a token endpoint has an https:// URL: the client's secret goes there")
        if self.authentication not in ("client_secret_basic", "client_secret_post"):
            raise ValueError("the authentication is 'client_secret_basic' or 'client_secret_post'")

    def request(self) -> tuple[dict[str, str], bytes]:
        """Header fields and body of the POST for a token."""
        form = {"grant_type": "client_credentials"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if self.scope is not None:
            form["scope"] = self.scope
        form.update(self.more)
        if self.authentication == "client_secret_post":
            form.update(client_id=self.client_id, client_secret=self.client_secret)
        else:
            # Both are form-encoded first (RFC 6749 section 2.3.1).
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return headers, urlencode(form).encode()


@dataclass(frozen=True)
class _Token:
    text: str = field(repr=False)
    due: float
    """When it is renewed, by the monotonic clock."""


def read_token(answer: Answer, now: float, skew: float) -> _Token:
    """The token in an answer. Raises GatewayError for an OAuth error, VerificationError for what is no bearer token."""
    if answer.status != 200:
        raise oauth_error(answer.status, answer.headers, answer.body)
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    token = said.get("access_token") if isinstance(said, dict) else None
    kind = said.get("token_type") if isinstance(said, dict) else None
    if not isinstance(token, str) or not token or not isinstance(kind, str) or kind.lower() != "bearer":
        raise VerificationError("the token endpoint has given no bearer token")
    lifetime = said.get("expires_in")
    if isinstance(lifetime, str) and lifetime.isascii() and lifetime.isdigit() and len(lifetime) < 16:
        lifetime = int(lifetime)
    # Without a time it is used until it is refused.
    due = float("inf")
    lifetime = seconds(lifetime)
    if lifetime is not None:
        due = now + max(lifetime - min(skew, lifetime * SHARE), _SHORTEST)
    return _Token(token, due)


class _Base:
    def __init__(self, client: OAuthClient, skew: float, clock: Callable[[], float]) -> None:
        self._client = client
        self._skew = skew
        self._clock = clock
        self._known: _Token | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client!r})"

    def _good(self, used: str | None) -> _Token | None:
        known = self._known
        if known is None or known.text == used or (used is None and self._clock() >= known.due):
            return None
        return known


class ClientCredentials(_Base):
    """Tokens by client credentials over any way to send, for threads: remembered, renewed before they end.

    `send` makes the POST for a token: URL, header fields, body. Of many threads that need a token, one asks for it.
    """

    def __init__(
        self,
        client: OAuthClient,
        send: Callable[[str, Mapping[str, str], bytes], Answer],
        *,
        skew: float = SKEW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(client, skew, clock)
        self._send = send
        self._flight: SingleFlight[_Token] = SingleFlight()

    def token(self) -> str:
        """A token that is good for a while. Raises GatewayError."""
        return self._flight.run(lambda: self._good(None), self._ask).text

    def renew(self, used: str) -> str:
        """A token in place of one that was refused. Raises GatewayError."""
        return self._flight.run(lambda: self._good(used), self._ask).text

    def _ask(self) -> _Token:
        now = self._clock()
        headers, body = self._client.request()
        self._known = read_token(self._send(self._client.token_url, headers, body), now, self._skew)
        return self._known


class AsyncClientCredentials(_Base):
    """Tokens by client credentials over any way to send in asyncio: remembered, renewed before they end."""

    def __init__(
        self,
        client: OAuthClient,
        send: Callable[[str, Mapping[str, str], bytes], Awaitable[Answer]],
        *,
        skew: float = SKEW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(client, skew, clock)
        self._send = send
        self._flight: AsyncSingleFlight[_Token] = AsyncSingleFlight()

    async def token_async(self) -> str:
        """A token that is good for a while. Raises GatewayError."""
        return (await self._flight.run(lambda: self._good(None), self._ask)).text

    async def renew_async(self, used: str) -> str:
        """A token in place of one that was refused. Raises GatewayError."""
        return (await self._flight.run(lambda: self._good(used), self._ask)).text

    async def _ask(self) -> _Token:
        now = self._clock()
        headers, body = self._client.request()
        self._known = read_token(await self._send(self._client.token_url, headers, body), now, self._skew)
        return self._known
