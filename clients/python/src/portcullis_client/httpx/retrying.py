"""Transports that try again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import httpx

from ..errors import GatewayError, PortcullisError
from ..retry import Attempts, Retry
from .bodies import answer_of, read, read_async
from .calls import CALL, Call

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_OF_REFUSAL = 64 * 1024


class _Trying:
    """What both retrying transports do with one request, beside sending and waiting."""

    def __init__(self, retry: Retry, request: httpx.Request) -> None:
        call = request.extensions.get(CALL)
        # A request that follows a redirect has the extensions of the first one, and is not signed.
        self._call = call if isinstance(call, Call) and call.request is request else None
        self._replays = isinstance(request.stream, httpx.ByteStream)
        self._attempts: Attempts = retry.begin(request.method, request.headers)
        self.request = request

    def sign_again(self) -> None:
        if self._call is not None:
            self.request = self._call.sign()

    def after_error(self, error: httpx.TransportError) -> float | None:
        was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError) or (was_sent and not self._replays):
            return None
        return self._attempts.after_failure(was_sent=was_sent)

    def is_refusal(self, response: httpx.Response) -> bool:
        """Whether the body says what has happened."""
        return self._call is not None and response.status_code in (600, 949)

    def after_response(self, response: httpx.Response, body: bytes | None) -> float | None:
        if not self._replays:
            return None
        if body is None:
            return self._attempts.after_status(response.status_code, response.headers.get("retry-after"))
        if self._call is None:
            return None
        try:
            self._call.exchange.open(answer_of(response, body))
        except GatewayError as refusal:
            return self._attempts.after_refusal(refusal)
        except PortcullisError:
            # Verified once more, and told, by Auth.
            pass
        return None


class RetryTransport(httpx.BaseTransport):
    """A transport that tries again what `retry` allows; a call of `Auth` is signed anew for each attempt."""

    def __init__(
        self,
        transport: httpx.BaseTransport | None = None,
        *,
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = httpx.HTTPTransport() if transport is None else transport
        self._retry = Retry() if retry is None else retry
        self._sleep = sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request, again if need be."""
        trying = _Trying(self._retry, request)
        while True:
            try:
                response = self._transport.handle_request(trying.request)
            except httpx.TransportError as error:
                pause = trying.after_error(error)
                if pause is None:
                    raise
            else:
                body = None
                if trying.is_refusal(response):
                    response.request = trying.request
                    body = read(response, _MOST_OF_REFUSAL)
                    response.stream = httpx.ByteStream(body)
                pause = trying.after_response(response, body)
                if pause is None:
                    return response
                response.close()
            self._sleep(pause)
            trying.sign_again()

    def close(self) -> None:
        """Closes the transport below."""
        self._transport.close()


class AsyncRetryTransport(httpx.AsyncBaseTransport):
    """The same for httpx.AsyncClient."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, *, retry: Retry | None = None) -> None:
        self._transport = httpx.AsyncHTTPTransport() if transport is None else transport
        self._retry = Retry() if retry is None else retry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request, again if need be."""
        trying = _Trying(self._retry, request)
        while True:
            try:
                response = await self._transport.handle_async_request(trying.request)
            except httpx.TransportError as error:
                pause = trying.after_error(error)
                if pause is None:
                    raise
            else:
                body = None
                if trying.is_refusal(response):
                    response.request = trying.request
                    body = await read_async(response, _MOST_OF_REFUSAL)
                    response.stream = httpx.ByteStream(body)
                pause = trying.after_response(response, body)
                if pause is None:
                    return response
                await response.aclose()
            await anyio.sleep(pause)
            trying.sign_again()

    async def aclose(self) -> None:
        """Closes the transport below."""
        await self._transport.aclose()
