"""Calls that are not signed: with an API key, a token, or both."""

from __future__ import annotations

from dataclasses import replace

from .message import Answer, Dialect, Field, Request, checked


class Plain:
    """Calls that nobody signs: with an API key, a token, or both. Answers are taken as they come."""

    name = "plain"

    def __init__(self, api_key: str | None = None) -> None:
        self._api_key = api_key

    def __repr__(self) -> str:
        return "Plain()"

    def for_logins(self) -> Dialect:
        """How calls to the endpoints for logins are made: like all others."""
        return self

    def reads(self, status: int) -> bool:
        """Whether an answer with this status is read whole: never."""
        return False

    def wants_keys(self) -> bool:
        """Whether public keys are needed: never."""
        return False

    def learn_keys(self, document: bytes) -> None:
        """Takes no public keys."""

    def sign(self, request: Request, token: str | None = None) -> _Exchange:
        """Adds the API key and the token."""
        own: list[Field] = []
        if token is not None:
            own.append(("Authorization", f"Bearer {token}"))
        if self._api_key is not None:
            own.append(("X-API-Key", self._api_key))
        names = {name.lower() for name, _ in own}
        kept = [pair for pair in checked(request.headers) if pair[0].lower() not in names]
        return _Exchange(replace(request, headers=(*kept, *checked(own))))


class _Exchange:
    """A call with a key or a token."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def open(self, answer: Answer) -> bytes:
        """Takes the answer as it came."""
        return answer.body
