"""Retries with full jitter (exponential backoff), bounded in number and time: what is tried again, and when."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .errors import GatewayError

# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_TOO_MANY = 429
_UNAVAILABLE = 503


@dataclass(frozen=True)
class Retry:
    """What is tried again.

    - Whatever the method: a connection that failed before anything was sent; 429 with `Retry-After`.
    - Idempotent methods, and requests with an `Idempotency-Key`: a connection that broke later; 429, 503; refusals with
      code 503 in the dialects `fo` and `api`.

    At most `attempts` in all, and none begins more than `total` seconds after the first. A pause is a random part of
    `base` seconds, doubled from attempt to attempt, at most `longest`. `Retry-After` is a pause's least length; where it
    asks for more than `longest_asked`, or than there is time left, the answer is returned as it is.
    """

    attempts: int = 4
    total: float = 30.0
    base: float = 0.2
    longest: float = 5.0
    longest_asked: float = 15.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    time_of_day: Callable[[], float] = field(default=time.time, repr=False)
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.total, self.base, self.longest, self.longest_asked) < 0:
            raise ValueError("at least one attempt, and no negative time")

    def begin(self, method: str, field_names: Iterable[str]) -> Attempts:
        """The attempts of one call, a request with these header fields."""
        has_key = any(name.lower() == "idempotency-key" for name in field_names)
        return Attempts(self, is_idempotent=has_key or method.upper() in _IDEMPOTENT)


class Attempts:
    """The attempts of one call. Each question is asked once an attempt; a pause in seconds is the answer to go on."""

    def __init__(self, retry: Retry, *, is_idempotent: bool) -> None:
        self._retry = retry
        self._is_idempotent = is_idempotent
        self._made = 1
        self._deadline = retry.clock() + retry.total

    def after_failure(self, *, was_sent: bool) -> float | None:
        """The pause after a connection failed. `was_sent` is False only if no byte of the request can have been sent."""
        return self._pause(0.0) if self._is_idempotent or not was_sent else None

    def after_status(self, status: int, retry_after: str | None) -> float | None:
        """The pause after an answer."""
        asked = self._asked(retry_after)
        was_not_let_in = status == _TOO_MANY and asked is not None
        if not was_not_let_in and not (self._is_idempotent and status in (_TOO_MANY, _UNAVAILABLE)):
            return None
        return self._pause(asked or 0.0)

    def after_refusal(self, refusal: GatewayError) -> float | None:
        """The pause after a refusal in `fo` or `api`."""
        status = _UNAVAILABLE if refusal.is_unavailable else refusal.code
        return self.after_status(status if isinstance(status, int) else refusal.status, refusal.retry_after)

    def _asked(self, retry_after: str | None) -> float | None:
        """What `Retry-After` asks for, in seconds (RFC 9110 section 10.2.3)."""
        if retry_after is None:
            return None
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text) if len(text) < 10 else math.inf
        try:
            asked = parsedate_to_datetime(text)
            asked = asked if asked.tzinfo else asked.replace(tzinfo=timezone.utc)
            return max(asked.timestamp() - self._retry.time_of_day(), 0.0)
        except (ValueError, OverflowError):
            return None

    def _pause(self, asked: float) -> float | None:
        retry = self._retry
        if self._made >= retry.attempts or asked > retry.longest_asked:
            return None
        cap = min(retry.base * 2.0 ** (self._made - 1), retry.longest)
        pause = asked + retry.random() * cap
        if retry.clock() + pause > self._deadline:
            return None
        self._made += 1
        return pause
