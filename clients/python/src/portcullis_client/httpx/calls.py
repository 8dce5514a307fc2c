"""One call by httpx: signed, perhaps more than once, and its answer opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from ..errors import GatewayError, RedirectError, SigningError, VerificationError, may_be_of_token
from ..message import Exchange, Request, framed, is_credential
from .bodies import answer_of

if TYPE_CHECKING:
    from .auth import Auth

CALL = "portcullis_client"
"""Where a call stands among the extensions of its request."""


class _SentHeaders(httpx.Headers):
    """Header fields of which the transport sees all. A copy, as httpx makes one to follow a redirect, has no credentials."""

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        super().__init__([pair for pair in fields if not is_credential(pair[0].decode("latin-1"))])
        self._sent = fields

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """What is sent."""
        return self._sent


class Call:
    """One call on its way: it can be signed again until it is answered."""

    def __init__(self, auth: Auth, plain: httpx.Request, token: str | None) -> None:
        self._auth = auth
        self._plain = plain
        self._token = token
        self.exchange: Exchange
        self.request = self.sign()
        """What httpx was given."""

    def sign(self) -> httpx.Request:
        """The request with a new nonce, time and signature."""
        plain, url = self._plain, self._plain.url
        self._auth.gateway.check(url.scheme, url.host, url.port)
        own = plain.extensions.get("target")
        target = own if isinstance(own, bytes) else url.raw_path
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in plain.headers.raw]
        hosts = [value for name, value in headers if name.lower() == "host"]
        self.exchange = self._auth.dialect.sign(
            Request(
                method=plain.method,
                scheme=url.scheme,
                host=hosts[0] if len(hosts) == 1 else url.netloc.decode("ascii"),
                target=target.decode("latin-1"),
                headers=framed(headers, plain.content),
                body=plain.content,
            ),
            self._token,
        )
        signed = self.exchange.request
        extensions = dict(plain.extensions)
        extensions[CALL] = self
        raw_path = signed.target.encode("latin-1")
        if raw_path != target:
            # The outer target of an encrypted call.
            url = url.copy_with(raw_path=raw_path)
            extensions.pop("target", None)
            if url.raw_path != raw_path:
                raise SigningError("the outer path of an encrypted call cannot be sent as it is")
        request = httpx.Request(signed.method, url, stream=httpx.ByteStream(signed.body), extensions=extensions)
        fields = [("Host", signed.host), *signed.headers]
        request.headers = _SentHeaders([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
        return request

    def wants(self, response: httpx.Response) -> bool:
        """Whether a response is read whole before it is handed on."""
        if response.request is not self.request:
            raise RedirectError("a redirect was followed: switch 'follow_redirects' off, or call its target yourself")
        return self._auth.dialect.reads(response.status_code)

    def open(self, response: httpx.Response, raw: bytes | None) -> GatewayError | None:
        """Verifies the response and puts the opened body in its place. Returns the gateway's refusal, if it is one."""
        if raw is None:
            return None
        try:
            body = self.exchange.open(answer_of(response, raw))
        except GatewayError as refusal:
            # httpx reads it to its end before the call is made once more.
            response.stream = httpx.ByteStream(raw)
            return refusal
        if hasattr(response, "_content"):
            # Read before by an event hook: it has seen what was not verified.
            if body != raw:
                raise VerificationError("an event hook has read the response before it was opened")
            return None
        if body != raw and "content-length" in response.headers:
            response.headers["content-length"] = str(len(body))
        response.stream = httpx.ByteStream(body)
        return None

    @staticmethod
    def is_token_refused(response: httpx.Response, refusal: GatewayError | None) -> bool:
        """Whether the call may pass with another token."""
        if refusal is not None:
            return refusal.refuses_token
        return response.status_code == 401 and may_be_of_token(response.headers.get("www-authenticate"))
