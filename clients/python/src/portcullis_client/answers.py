"""Answers read whole before they are trusted: within a bound, as they were on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import AnswerTooLargeError, VerificationError, field

if TYPE_CHECKING:
    from .message import Answer

MOST_BYTES = 16 * 1024 * 1024
"""How large an answer is read for verification, unless somebody says otherwise."""
MOST_OF_KEYS = 64 * 1024
"""How large a set of keys is read."""


def as_asked(answer: Answer) -> Answer:
    """An answer to a request that took no Content-Encoding. Raises VerificationError if it has one: it could be a bomb."""
    if (field(answer.headers, "content-encoding") or "identity").strip().lower() != "identity":
        raise VerificationError("the answer has a Content-Encoding that was not asked for")
    return answer


class Whole:
    """Collects the pieces of a body. Raises AnswerTooLargeError when there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[bytes] = []
        self._length = 0

    def announce(self, content_length: str | None) -> None:
        """Looks at the length that is said beforehand."""
        if content_length is not None and content_length.isascii() and content_length.isdigit():
            self._check(int(content_length[:20]))

    def add(self, piece: bytes) -> None:
        """Takes a piece."""
        self._length += len(piece)
        self._check(self._length)
        self._pieces.append(piece)

    def bytes(self) -> bytes:
        """The body."""
        return b"".join(self._pieces)

    def _check(self, length: int) -> None:
        if length > self._most:
            raise AnswerTooLargeError(f"an answer of more than {self._most} bytes")
