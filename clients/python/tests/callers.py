"""The three ways to call, behind one: httpx, httpx in asyncio, and requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import requests

import portcullis_client.httpx as for_httpx
import portcullis_client.requests as for_requests
from portcullis_client import Dialect, Retry
from portcullis_client.answers import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ["httpx", "asyncio", "requests"]


@dataclass(frozen=True)
class Got:
    """A response, its Content-Encoding undone."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Caller:
    """One of the three, with its `Auth` and, if wished, retries that do not wait."""

    def __init__(
        self,
        kind: str,
        gateway: str,
        dialect: Dialect,
        *,
        tokens: Any = None,
        retry: Retry | None = None,
        most_bytes: int = MOST_BYTES,
        http2: bool = False,
    ) -> None:
        self.kind, self.gateway, self.pauses = kind, gateway, list[float]()
        self.http: Any
        if kind == "requests":
            self.auth: Any = for_requests.Auth(gateway, dialect, tokens=tokens, most_bytes=most_bytes)
            self.http = requests.Session()
            self.http.trust_env = False
            if retry is not None:
                self.http.mount("http://", for_requests.RetryAdapter(retry=retry, sleep=self.pauses.append))
            return
        self.auth = for_httpx.Auth(gateway, dialect, tokens=tokens, most_bytes=most_bytes)
        if kind == "httpx":
            # No certificates are read for servers in clear.
            below = httpx.HTTPTransport(verify=False, http1=not http2, http2=http2)
            again = for_httpx.RetryTransport(below, retry=retry, sleep=self.pauses.append) if retry else below
            self.http = httpx.Client(auth=self.auth, transport=again, timeout=20)
            return
        self.loop = asyncio.new_event_loop()
        below_async = httpx.AsyncHTTPTransport(verify=False, http1=not http2, http2=http2)
        again_async = for_httpx.AsyncRetryTransport(below_async, retry=retry) if retry else below_async
        self.http = httpx.AsyncClient(auth=self.auth, transport=again_async, timeout=20)

    def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        follow: bool = False,
        auth: Any = None,
    ) -> Got:
        """Calls a target of the gateway, or another URL."""
        url = self.gateway + target if target.startswith("/") else target
        auth = self.auth if auth is None else auth
        if self.kind == "requests":
            response = self.http.request(
                method, url, headers=headers, data=body, allow_redirects=follow, auth=auth, timeout=20
            )
            return Got(response.status_code, response.headers, response.content)
        asked = self.http.request(method, url, headers=headers, content=body, follow_redirects=follow, auth=auth)
        response = self.run(asked) if self.kind == "asyncio" else asked
        return Got(response.status_code, response.headers, response.content)

    def run(self, what: Any) -> Any:
        """Waits for something in asyncio; returns anything else."""
        return self.loop.run_until_complete(what) if asyncio.iscoroutine(what) else what

    def close(self) -> None:
        """Closes its connections."""
        if self.kind == "asyncio":
            self.run(self.http.aclose())
            self.loop.close()
        else:
            self.http.close()
