"""Sessions of users and tokens of clients, asked for with httpx."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from ..answers import as_asked
from ..oauth import AsyncClientCredentials as _AsyncClientCredentials
from ..oauth import ClientCredentials as _ClientCredentials
from ..session import AsyncSession as _AsyncSession
from ..session import Session as _Session
from ..tokens import SKEW, FixedToken
from .bodies import answer_of, read, read_async

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..built_in import Ask
    from ..message import Answer
    from ..oauth import OAuthClient
    from ..tokens import TokenStore
    from .auth import Auth

_MOST_BYTES = 64 * 1024
_JSON = {"Content-Type": "application/json; charset=utf-8", "Accept-Encoding": "identity"}
_TIMEOUT = httpx.Timeout(10.0, read=30.0)


class Session(_Session):
    """A user's session with an httpx.Client: `session.auth` goes with the calls of the user."""

    def __init__(
        self,
        client: httpx.Client,
        auth: Auth,
        *,
        store: TokenStore | None = None,
        skew: float = SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        logins = auth.for_logins()

        def send(ask: Ask, token: str | None) -> Answer:
            own = logins if token is None else logins.with_tokens(FixedToken(token))
            request = client.build_request("POST", auth.gateway.url + ask.path, content=ask.encoded(), headers=_JSON)
            response = client.send(request, auth=own, follow_redirects=False, stream=True)
            return _bounded(response, auth.most_bytes)

        super().__init__(send, auth.dialect.name, store=store, skew=skew, clock=clock)
        self.auth = auth.with_tokens(self)


class AsyncSession(_AsyncSession):
    """A user's session with an httpx.AsyncClient, in one event loop of asyncio."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        auth: Auth,
        *,
        store: TokenStore | None = None,
        skew: float = SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        logins = auth.for_logins()

        async def send(ask: Ask, token: str | None) -> Answer:
            own = logins if token is None else logins.with_tokens(FixedToken(token))
            request = client.build_request("POST", auth.gateway.url + ask.path, content=ask.encoded(), headers=_JSON)
            response = await client.send(request, auth=own, follow_redirects=False, stream=True)
            return await _bounded_async(response, auth.most_bytes)

        super().__init__(send, auth.dialect.name, store=store, skew=skew, clock=clock)
        self.auth = auth.with_tokens(self)


class ClientCredentials(_ClientCredentials):
    """Tokens by OAuth 2.0 client credentials, asked for with an httpx.Client of its own or a given one."""

    def __init__(
        self,
        oauth: OAuthClient,
        client: httpx.Client | None = None,
        *,
        skew: float = SKEW,
        most_bytes: int = _MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = httpx.Client(timeout=_TIMEOUT) if client is None else client

        def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
            request = self._http.build_request("POST", url, headers={**headers, "Accept-Encoding": "identity"}, content=body)
            response = self._http.send(request, auth=None, follow_redirects=False, stream=True)
            return _bounded(response, most_bytes)

        super().__init__(oauth, send, skew=skew, clock=clock)

    def close(self) -> None:
        """Closes the client."""
        self._http.close()


class AsyncClientCredentials(_AsyncClientCredentials):
    """The same for httpx.AsyncClient, in one event loop of asyncio."""

    def __init__(
        self,
        oauth: OAuthClient,
        client: httpx.AsyncClient | None = None,
        *,
        skew: float = SKEW,
        most_bytes: int = _MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = httpx.AsyncClient(timeout=_TIMEOUT) if client is None else client

        async def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
            request = self._http.build_request("POST", url, headers={**headers, "Accept-Encoding": "identity"}, content=body)
            response = await self._http.send(request, auth=None, follow_redirects=False, stream=True)
            return await _bounded_async(response, most_bytes)

        super().__init__(oauth, send, skew=skew, clock=clock)

    async def aclose(self) -> None:
        """Closes the client."""
        await self._http.aclose()


def _bounded(response: httpx.Response, most_bytes: int) -> Answer:
    """An answer of the gateway itself or of a token endpoint."""
    return as_asked(answer_of(response, read(response, most_bytes)))


async def _bounded_async(response: httpx.Response, most_bytes: int) -> Answer:
    return as_asked(answer_of(response, await read_async(response, most_bytes)))
