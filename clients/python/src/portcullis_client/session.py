"""Sessions: log in, keep the token pair, renew it before it ends and when it is refused, log out. Without IO.

`portcullis_client.httpx` and `portcullis_client.requests` make sessions that send.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from .built_in import Ask, as_ended, endpoints_of
from .errors import GatewayError, SessionEndedError
from .single_flight import AsyncSingleFlight, SingleFlight
from .tokens import SKEW, Kept, MemoryStore, TokenPair, TokenStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .message import Answer


class _Base:
    def __init__(self, dialect: str, store: TokenStore | None, skew: float, clock: Callable[[], float]) -> None:
        self._endpoints = endpoints_of(dialect)
        self._kept = Kept(MemoryStore() if store is None else store)
        self._skew = skew
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {'logged in' if self._kept.pair else 'not logged in'}>"

    @property
    def pair(self) -> TokenPair | None:
        """The token pair, None before a login and after a logout."""
        return self._kept.pair

    @property
    def user_info(self) -> Mapping[str, Any] | None:
        """What the login has said of the user."""
        return None if self._kept.pair is None else self._kept.pair.user_info

    def _here(self) -> TokenPair:
        pair = self._kept.pair
        if pair is None:
            raise SessionEndedError("nobody is logged in", code=None, status=0)
        return pair

    def _good(self, used: str | None) -> TokenPair | None:
        """The pair, unless it is due, or its access token was used and refused."""
        pair = self._here()
        if pair.access_token == used or (used is None and pair.is_due(self._clock(), self._skew)):
            return None
        return pair

    def _renewed_elsewhere(self, before: TokenPair) -> TokenPair | None:
        """The pair that another process has put into the store in the meantime."""
        pair = self._kept.reload()
        if pair is None:
            return self._here()
        is_new = pair.access_token != before.access_token and not pair.is_due(self._clock(), self._skew)
        return pair if is_new else None

    def _refused(self, error: GatewayError) -> GatewayError:
        error = as_ended(error)
        if isinstance(error, SessionEndedError):
            self._kept.save(None)
        return error


class Session(_Base):
    """A session over any way to send, for threads.

    `send` makes a POST and returns its answer; it is given the access token where the call is made with it. Of many
    threads that find the pair due or refused, one renews it.
    """

    def __init__(
        self,
        send: Callable[[Ask, str | None], Answer],
        dialect: str,
        *,
        store: TokenStore | None = None,
        skew: float = SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(dialect, store, skew, clock)
        self._send = send
        self._flight: SingleFlight[TokenPair] = SingleFlight()
        # A logout waits for a renewal that is under way, and ends what comes of it.
        self._changing = threading.Lock()

    def login(self, credentials: Mapping[str, Any], *, sms: bool = False) -> TokenPair:
        """Logs in, for example with `{"username": …, "password": …}`. Raises LoginError."""
        with self._changing:
            now = self._clock()
            answer = self._send(self._endpoints.login(credentials, sms=sms), None)
            pair = self._endpoints.pair(answer, now)
            self._kept.save(pair)
            return pair

    def token(self) -> str:
        """An access token that is good for a while. Raises SessionEndedError."""
        return self._flight.run(lambda: self._good(None), lambda: self._renew(None)).access_token

    def renew(self, used: str) -> str:
        """An access token in place of one that was refused. Raises SessionEndedError."""
        return self._flight.run(lambda: self._good(used), lambda: self._renew(used)).access_token

    def refresh(self) -> TokenPair:
        """Renews the pair now. Raises SessionEndedError."""
        self.renew(self._here().access_token)
        return self._here()

    def _renew(self, used: str | None) -> TokenPair:
        with self._changing:
            known = self._good(used)
            if known is not None:
                return known
            before = self._here()
            elsewhere = self._renewed_elsewhere(before)
            if elsewhere is not None:
                return elsewhere
            now = self._clock()
            try:
                pair = self._endpoints.pair(self._send(self._endpoints.refresh(before), None), now, before)
            except GatewayError as error:
                raise self._refused(error) from None
            self._kept.save(pair)
            return pair

    def alive(self) -> float | None:
        """For how many seconds the access token is good, as the gateway says; None if it is not."""
        return self._endpoints.remaining(self._send(self._endpoints.alive(self._here()), None))

    def change_password(self, change: Mapping[str, Any], *, sms: bool = False) -> None:
        """Changes the password, which ends the session. Raises LoginError."""
        with self._changing:
            self._with_token(self._endpoints.change_password(change, sms=sms))
            self._kept.save(None)

    def logout(self) -> None:
        """Ends the session, here and at the gateway. Nothing happens if nobody is logged in."""
        with self._changing:
            pair = self._kept.pair
            if pair is None:
                return
            try:
                self._with_token(self._endpoints.logout(pair))
            except GatewayError as error:
                if not error.refuses_token:
                    raise
            self._kept.save(None)

    def _with_token(self, ask: Ask) -> None:
        self._endpoints.data(self._send(ask, self._here().access_token if ask.with_token else None))


class AsyncSession(_Base):
    """A session over any way to send in asyncio. Of many tasks that find the pair due or refused, one renews it."""

    def __init__(
        self,
        send: Callable[[Ask, str | None], Awaitable[Answer]],
        dialect: str,
        *,
        store: TokenStore | None = None,
        skew: float = SKEW,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(dialect, store, skew, clock)
        self._send = send
        self._flight: AsyncSingleFlight[TokenPair] = AsyncSingleFlight()
        # A logout waits for a renewal that is under way, and ends what comes of it.
        self._changing = asyncio.Lock()

    async def login(self, credentials: Mapping[str, Any], *, sms: bool = False) -> TokenPair:
        """Logs in, for example with `{"username": …, "password": …}`. Raises LoginError."""
        async with self._changing:
            now = self._clock()
            answer = await self._send(self._endpoints.login(credentials, sms=sms), None)
            pair = self._endpoints.pair(answer, now)
            self._kept.save(pair)
            return pair

    async def token_async(self) -> str:
        """An access token that is good for a while. Raises SessionEndedError."""
        return (await self._flight.run(lambda: self._good(None), lambda: self._renew(None))).access_token

    async def renew_async(self, used: str) -> str:
        """An access token in place of one that was refused. Raises SessionEndedError."""
        return (await self._flight.run(lambda: self._good(used), lambda: self._renew(used))).access_token

    async def refresh(self) -> TokenPair:
        """Renews the pair now. Raises SessionEndedError."""
        await self.renew_async(self._here().access_token)
        return self._here()

    async def _renew(self, used: str | None) -> TokenPair:
        async with self._changing:
            known = self._good(used)
            if known is not None:
                return known
            before = self._here()
            elsewhere = self._renewed_elsewhere(before)
            if elsewhere is not None:
                return elsewhere
            now = self._clock()
            try:
                pair = self._endpoints.pair(await self._send(self._endpoints.refresh(before), None), now, before)
            except GatewayError as error:
                raise self._refused(error) from None
            self._kept.save(pair)
            return pair

    async def alive(self) -> float | None:
        """For how many seconds the access token is good, as the gateway says; None if it is not."""
        return self._endpoints.remaining(await self._send(self._endpoints.alive(self._here()), None))

    async def change_password(self, change: Mapping[str, Any], *, sms: bool = False) -> None:
        """Changes the password, which ends the session. Raises LoginError."""
        async with self._changing:
            await self._with_token(self._endpoints.change_password(change, sms=sms))
            self._kept.save(None)

    async def logout(self) -> None:
        """Ends the session, here and at the gateway. Nothing happens if nobody is logged in."""
        async with self._changing:
            pair = self._kept.pair
            if pair is None:
                return
            try:
                await self._with_token(self._endpoints.logout(pair))
            except GatewayError as error:
                if not error.refuses_token:
                    raise
            self._kept.save(None)

    async def _with_token(self, ask: Ask) -> None:
        self._endpoints.data(await self._send(ask, self._here().access_token if ask.with_token else None))
