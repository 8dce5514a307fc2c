"""For httpx: `Auth` signs and verifies, `RetryTransport` tries again, sessions and client credentials give tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import gateway_error
from .auth import Auth
from .retrying import AsyncRetryTransport, RetryTransport
from .tokens import AsyncClientCredentials, AsyncSession, ClientCredentials, Session

if TYPE_CHECKING:
    import httpx

__all__ = [
    "AsyncClientCredentials",
    "AsyncRetryTransport",
    "AsyncSession",
    "Auth",
    "ClientCredentials",
    "RetryTransport",
    "Session",
    "raise_for_refusal",
]


def raise_for_refusal(response: httpx.Response) -> httpx.Response:
    """Raises GatewayError if the response, which has been read, is a refusal of the gateway; else returns it."""
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
    refusal = gateway_error(response.status_code, raw, response.content)
    if refusal is not None:
        raise refusal
    return response
