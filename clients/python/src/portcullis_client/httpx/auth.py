"""`httpx.Auth` that signs requests and verifies their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from ..answers import MOST_BYTES, MOST_OF_KEYS, as_asked
from ..errors import VerificationError
from ..gateway_address import GatewayAddress
from ..tokens import AsyncTokenSource, TokenSource
from .bodies import answer_of, discard, discard_async, read, read_async
from .calls import Call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from ..message import Dialect

_KEYS = "/.well-known/jwks.json"
_TIMEOUT = httpx.Timeout(10.0, read=30.0)


class Auth(httpx.Auth):
    """Signs what httpx sends to the gateway, and verifies what comes back.

    `gateway` is its URL: a request to another origin raises ForeignOriginError. `dialect` is `Fo`, `Api`,
    `HttpSignatures` or `Plain`. `tokens` gives a user's or client's access token; if the call is refused because of
    it, the token is renewed and the call made once more. Answers are read whole, up to `most_bytes`.
    """

    requires_request_body = True

    def __init__(
        self,
        gateway: str,
        dialect: Dialect,
        *,
        tokens: TokenSource | AsyncTokenSource | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.gateway = GatewayAddress(gateway)
        self.dialect = dialect
        self.tokens = tokens
        self.most_bytes = most_bytes

    def __repr__(self) -> str:
        return f"Auth({self.gateway.url!r}, {self.dialect!r})"

    def with_tokens(self, tokens: TokenSource | AsyncTokenSource | None) -> Auth:
        """The same with other tokens."""
        return Auth(self.gateway.url, self.dialect, tokens=tokens, most_bytes=self.most_bytes)

    def for_logins(self) -> Auth:
        """The same for calls to the gateway's endpoints for logins: without a token."""
        return Auth(self.gateway.url, self.dialect.for_logins(), most_bytes=self.most_bytes)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What httpx.Client runs for each request."""
        tokens = self.tokens
        if tokens is not None and not isinstance(tokens, TokenSource):
            raise TypeError("an asynchronous source of tokens is for httpx.AsyncClient")
        request.read()
        if self.dialect.wants_keys():
            asked = self._ask_for_keys()
            response = yield asked
            self._learn_keys(asked, response, read(response, MOST_OF_KEYS))
        token = None if tokens is None else tokens.token()
        call = Call(self, request, token)
        response = yield call.request
        refusal = call.open(response, read(response, self.most_bytes) if call.wants(response) else None)
        if tokens is not None and token is not None and call.is_token_refused(response, refusal):
            other = tokens.renew(token)
            if other != token:
                discard(response)
                call = Call(self, request, other)
                response = yield call.request
                refusal = call.open(response, read(response, self.most_bytes) if call.wants(response) else None)
        if refusal is not None:
            raise refusal

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """What httpx.AsyncClient runs for each request."""
        tokens = self.tokens
        if tokens is not None and not isinstance(tokens, AsyncTokenSource):
            raise TypeError("for httpx.AsyncClient, the source of tokens is an asynchronous one")
        await request.aread()
        if self.dialect.wants_keys():
            asked = self._ask_for_keys()
            response = yield asked
            self._learn_keys(asked, response, await read_async(response, MOST_OF_KEYS))
        token = None if tokens is None else await tokens.token_async()
        call = Call(self, request, token)
        response = yield call.request
        refusal = call.open(response, await read_async(response, self.most_bytes) if call.wants(response) else None)
        if tokens is not None and token is not None and call.is_token_refused(response, refusal):
            other = await tokens.renew_async(token)
            if other != token:
                await discard_async(response)
                call = Call(self, request, other)
                response = yield call.request
                raw = await read_async(response, self.most_bytes) if call.wants(response) else None
                refusal = call.open(response, raw)
        if refusal is not None:
            raise refusal

    def _ask_for_keys(self) -> httpx.Request:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        return httpx.Request("GET", self.gateway.url + _KEYS, headers=headers, extensions={"timeout": _TIMEOUT.as_dict()})

    def _learn_keys(self, asked: httpx.Request, response: httpx.Response, raw: bytes) -> None:
        if response.request is not asked or response.status_code != 200:
            raise VerificationError(f"the gateway's keys cannot be fetched: status {response.status_code}")
        response.stream = httpx.ByteStream(raw)
        self.dialect.learn_keys(as_asked(answer_of(response, raw)).body)
