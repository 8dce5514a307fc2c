"""Tokens: the pair that a login gives, where it is kept, and what calls take a token from."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

SKEW = 30.0
"""For how many seconds before its end a token is not used any more, unless somebody says otherwise."""
SHARE = 0.1
"""What part of its life a token that does not live long is at most renewed before its end."""


@dataclass(frozen=True)
class TokenPair:
    """What a login gives. `expires_at` is when the access token ends, in seconds since 1970. Its `repr` shows no token."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    lifetime: float
    """For how many seconds the access token was good when it was made."""
    user_info: Mapping[str, Any] | None = field(default=None, repr=False)

    def is_due(self, now: float, skew: float) -> bool:
        """Whether the access token is to be renewed: `skew` seconds before it ends, or less if it does not live long."""
        return now >= self.expires_at - min(skew, self.lifetime * SHARE)

    def to_dict(self) -> dict[str, Any]:
        """The pair as JSON has it, for a store."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_at": self.expires_at,
            "lifetime": self.lifetime,
            "user_info": None if self.user_info is None else dict(self.user_info),
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> TokenPair:
        """The pair that `to_dict` wrote. Raises KeyError, TypeError or ValueError."""
        info = said.get("user_info")
        return cls(
            str(said["access_token"]),
            str(said["refresh_token"]),
            float(said["expires_at"]),
            float(said["lifetime"]),
            None if info is None else dict(info),
        )


class TokenStore(Protocol):
    """Where a session keeps its pair. It holds secrets: a file of it is readable by its owner alone.

    Both methods are called by one thread or task at a time, also in asyncio: they should be quick.
    """

    def load(self) -> TokenPair | None:
        """The pair that was saved last, None if there is none."""

    def save(self, pair: TokenPair | None) -> None:
        """Keeps a pair in place of the one before; None after a logout, or when the session has ended."""


class MemoryStore:
    """A store that forgets when the process ends."""

    def __init__(self, pair: TokenPair | None = None) -> None:
        self._pair = pair

    def load(self) -> TokenPair | None:
        """The pair that was saved last."""
        return self._pair

    def save(self, pair: TokenPair | None) -> None:
        """Keeps a pair."""
        self._pair = pair


@runtime_checkable
class TokenSource(Protocol):
    """What calls take their token from."""

    def token(self) -> str:
        """A token that is good for a while."""

    def renew(self, used: str) -> str:
        """A token in place of one that was refused. If it was renewed since, that one."""


@runtime_checkable
class AsyncTokenSource(Protocol):
    """What calls in asyncio take their token from."""

    async def token_async(self) -> str:
        """A token that is good for a while."""

    async def renew_async(self, used: str) -> str:
        """A token in place of one that was refused. If it was renewed since, that one."""


class FixedToken:
    """A token that somebody else looks after."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __repr__(self) -> str:
        return "FixedToken()"

    def token(self) -> str:
        """The token."""
        return self._token

    def renew(self, used: str) -> str:
        """The same token: there is no other."""
        return self._token

    async def token_async(self) -> str:
        """The token."""
        return self._token

    async def renew_async(self, used: str) -> str:
        """The same token: there is no other."""
        return self._token


def seconds(value: object) -> float | None:
    """A number of seconds as JSON has it; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


class Kept:
    """The pair in memory and in its store."""

    def __init__(self, store: TokenStore) -> None:
        self._lock = threading.Lock()
        self._store = store
        self._pair = store.load()

    @property
    def pair(self) -> TokenPair | None:
        """The pair in memory."""
        return self._pair

    def save(self, pair: TokenPair | None) -> None:
        """Keeps a pair."""
        with self._lock:
            self._pair = pair
            self._store.save(pair)

    def reload(self) -> TokenPair | None:
        """The pair of the store, which another process may have renewed."""
        with self._lock:
            self._pair = self._store.load()
            return self._pair
