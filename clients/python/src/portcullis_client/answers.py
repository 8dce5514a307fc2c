"""Answers read whole before they are trusted: within a bound, as they were on the wire."""

from __future__ import annotations

from .errors import AnswerTooLargeError

MOST_BYTES = 16 * 1024 * 1024
"""How large an answer is read for verification, unless somebody says otherwise."""


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
