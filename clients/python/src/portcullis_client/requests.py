"""For requests: `Auth` signs and verifies, `RetryAdapter` tries again, sessions and client credentials give tokens."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import requests.auth
import urllib3
import urllib3.exceptions
import urllib3.util

from .answers import MOST_BYTES, MOST_OF_KEYS, Whole, as_asked
from .errors import GatewayError, PortcullisError, SigningError, VerificationError, gateway_error, may_be_of_token
from .gateway_address import GatewayAddress
from .message import Answer, Dialect, Exchange, Request, framed
from .oauth import ClientCredentials as _ClientCredentials
from .oauth import OAuthClient
from .retry import Attempts, Retry
from .session import Session as _Session
from .tokens import SKEW, FixedToken, TokenSource, TokenStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .built_in import Ask

__all__ = ["Auth", "ClientCredentials", "RetryAdapter", "Session", "mount", "raise_for_refusal"]

_KEYS = "/.well-known/jwks.json"
_MOST_OF_REFUSAL = 64 * 1024
_PIECE = 64 * 1024
_TIMEOUT = (10.0, 30.0)
_JSON = {"Content-Type": "application/json; charset=utf-8", "Accept-Encoding": "identity"}
_ON_THE_WIRE = requests.adapters.HTTPAdapter()


class _GatewayResponse(requests.Response):
    """A response to a signed request. A redirect in it is not followed: the signature is for one target."""

    @property
    def is_redirect(self) -> bool:
        """False, so that requests does not follow."""
        return False


class _Call:
    """One call on its way: it can be signed again until it is answered."""

    def __init__(self, auth: Auth, prepared: requests.PreparedRequest, token: str | None) -> None:
        self._auth = auth
        self._token = token
        self._connection: dict[str, Any] = {}
        self.prepared = prepared
        url = prepared.url or ""
        parsed = urllib3.util.parse_url(url)
        auth.gateway.check(parsed.scheme or "", parsed.host or "", parsed.port)
        # As it is sent: what requests hands to urllib3 does not change there any more.
        prepared.url = parsed.url
        self._plain_url = parsed.url
        self._plain_headers = [(name, _text(value)) for name, value in prepared.headers.items()]
        hosts = [value for name, value in self._plain_headers if name.lower() == "host"]
        self._host = hosts[0] if hosts else _host(parsed)
        self._scheme = parsed.scheme or ""
        self._body = _body(prepared.body)
        self.exchange: Exchange
        self.sign()

    def sign(self) -> None:
        """Puts a new nonce, time and signature into the request."""
        prepared = self.prepared
        prepared.url = self._plain_url
        target = _ON_THE_WIRE.request_url(prepared, {})
        self.exchange = self._auth.dialect.sign(
            Request(
                method=prepared.method or "",
                scheme=self._scheme,
                host=self._host,
                target=target,
                headers=framed(self._plain_headers, self._body),
                body=self._body,
            ),
            self._token,
        )
        signed = self.exchange.request
        if signed.target != target:
            # The outer target of an encrypted call.
            parsed = urllib3.util.parse_url(self._plain_url)
            prepared.url = urllib3.util.parse_url(f"{parsed.scheme}://{parsed.netloc}{signed.target}").url
            if _ON_THE_WIRE.request_url(prepared, {}) != signed.target:
                raise SigningError("the outer path of an encrypted call cannot be sent as it is")
        prepared.method = signed.method
        prepared.headers.clear()
        prepared.headers.update(signed.headers)
        prepared.headers["Host"] = signed.host
        prepared.body = signed.body or None

    def respond(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        """What requests calls with the response: verifies it, and renews a refused token once."""
        if response.request is not self.prepared:
            response.close()
            raise VerificationError("this is the answer to a copy of the request that was signed")
        try:
            return self._respond(response, kwargs)
        except BaseException:
            # It may not have been read.
            response.close()
            raise

    def _respond(self, response: requests.Response, kwargs: dict[str, Any]) -> requests.Response:
        self._connection = {name: kwargs[name] for name in ("verify", "cert", "proxies") if name in kwargs}
        refusal, response = self._open(response)
        tokens, token = self._auth.tokens, self._token
        if refusal is not None:
            is_refused = refusal.refuses_token
        else:
            is_refused = response.status_code == 401 and may_be_of_token(response.headers.get("www-authenticate"))
        if tokens is not None and token is not None and is_refused:
            other = tokens.renew(token)
            if other != token:
                self._token = other
                self.sign()
                response.close()
                connection: Any = getattr(response, "connection", None)
                again: requests.Response = connection.send(self.prepared, **kwargs)
                again.elapsed = response.elapsed
                refusal, response = self._open(again)
        if refusal is not None:
            raise refusal
        return response

    def _open(self, response: requests.Response) -> tuple[GatewayError | None, requests.Response]:
        auth = self._auth
        opened = _GatewayResponse()
        vars(opened).update(vars(response))
        if not auth.dialect.reads(response.status_code):
            return None, opened
        raw = _read(response, auth.most_bytes)
        try:
            body = self.exchange.open(_answer(response, raw))
        except VerificationError:
            if not self._learn_keys(response):
                raise
            try:
                body = self.exchange.open(_answer(response, raw))
            except GatewayError as refusal:
                return refusal, opened
        except GatewayError as refusal:
            return refusal, opened
        if body != raw and "content-length" in opened.headers:
            opened.headers["content-length"] = str(len(body))
        opened.raw = _in_memory(response.raw, body)
        return None, opened

    def _learn_keys(self, response: requests.Response) -> bool:
        """Fetches the gateway's keys over the same adapter, if they are needed."""
        dialect = self._auth.dialect
        if not dialect.wants_keys():
            return False
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        asked = requests.Request("GET", self._auth.gateway.url + _KEYS, headers).prepare()
        connection: Any = getattr(response, "connection", None)
        given: requests.Response = connection.send(asked, stream=True, timeout=_TIMEOUT, **self._connection)
        if given.status_code != 200:
            raise VerificationError(f"the gateway's keys cannot be fetched: status {given.status_code}")
        dialect.learn_keys(_bounded(given, MOST_OF_KEYS).body)
        return True


class Auth(requests.auth.AuthBase):
    """Signs what requests sends to the gateway, and verifies what comes back.

    `gateway` is its URL: a request to another origin raises ForeignOriginError. `dialect` is `Fo`, `Api`,
    `HttpSignatures` or `Plain`. `tokens` gives a user's or client's access token; if the call is refused because of
    it, the token is renewed and the call made once more. Answers are read whole, up to `most_bytes`. Redirects are
    not followed, whatever `allow_redirects` says.
    """

    def __init__(
        self,
        gateway: str,
        dialect: Dialect,
        *,
        tokens: TokenSource | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.gateway = GatewayAddress(gateway)
        self.dialect = dialect
        self.tokens = tokens
        self.most_bytes = most_bytes

    def __repr__(self) -> str:
        return f"Auth({self.gateway.url!r}, {self.dialect!r})"

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Signs a request that is about to be sent."""
        token = None if self.tokens is None else self.tokens.token()
        r.hooks.setdefault("response", []).append(_Call(self, r, token).respond)
        return r

    def with_tokens(self, tokens: TokenSource | None) -> Auth:
        """The same with other tokens."""
        return Auth(self.gateway.url, self.dialect, tokens=tokens, most_bytes=self.most_bytes)

    def for_logins(self) -> Auth:
        """The same for calls to the gateway's endpoints for logins: without a token."""
        return Auth(self.gateway.url, self.dialect.for_logins(), most_bytes=self.most_bytes)


class RetryAdapter(requests.adapters.HTTPAdapter):
    """An adapter that tries again what `retry` allows; a call of `Auth` is signed anew for each attempt.

    `timeout`, for connecting and between two pieces of an answer in seconds, holds where a request has none: requests
    itself would wait for ever.
    """

    def __init__(
        self,
        *,
        retry: Retry | None = None,
        timeout: tuple[float, float] = _TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
        **kwargs: Any,
    ) -> None:
        self._retry = Retry() if retry is None else retry
        self._timeout = timeout
        self._sleep = sleep
        # What requests tries again by itself would be the same bytes: a repeat.
        super().__init__(**kwargs, max_retries=0)

    def send(  # type: ignore[override]  # the arguments are those of requests, whatever their number
        self, request: requests.PreparedRequest, **kwargs: Any
    ) -> requests.Response:
        """Sends a request, again if need be."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        attempts = self._retry.begin(request.method or "", request.headers)
        call = _call_of(request)
        replays = request.body is None or isinstance(request.body, bytes | str)
        while True:
            try:
                response = super().send(request, **kwargs)
            except requests.exceptions.RequestException as error:
                pause = _after_error(attempts, error, replays=replays)
                if pause is None:
                    raise
            else:
                pause = _after_response(attempts, call, response) if replays else None
                if pause is None:
                    return response
                response.close()
            self._sleep(pause)
            if call is not None:
                call.sign()


def mount(session: requests.Session, gateway: str, *, retry: Retry | None = None) -> requests.Session:
    """Has a session send its requests to the gateway with retries and timeouts. Returns the session."""
    session.mount(GatewayAddress(gateway).url + "/", RetryAdapter(retry=retry))
    return session


class Session(_Session):
    """A user's session with a requests.Session: `session.auth` goes with the calls of the user."""

    def __init__(
        self,
        http: requests.Session,
        auth: Auth,
        *,
        store: TokenStore | None = None,
        skew: float = SKEW,
        timeout: tuple[float, float] = _TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        logins = auth.for_logins()

        def send(ask: Ask, token: str | None) -> Answer:
            own = logins if token is None else logins.with_tokens(FixedToken(token))
            response = http.post(
                auth.gateway.url + ask.path,
                data=ask.encoded(),
                headers=_JSON,
                auth=own,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
            return _bounded(response, auth.most_bytes)

        super().__init__(send, auth.dialect.name, store=store, skew=skew, clock=clock)
        self.auth = auth.with_tokens(self)


class ClientCredentials(_ClientCredentials):
    """Tokens by OAuth 2.0 client credentials, asked for with a requests.Session of its own or a given one."""

    def __init__(
        self,
        oauth: OAuthClient,
        http: requests.Session | None = None,
        *,
        skew: float = SKEW,
        timeout: tuple[float, float] = _TIMEOUT,
        most_bytes: int = _MOST_OF_REFUSAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = requests.Session() if http is None else http

        def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
            response = self._http.post(
                url,
                data=body,
                headers={**headers, "Accept-Encoding": "identity"},
                # Else requests would look for a password in ~/.netrc.
                auth=_as_it_is,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
            )
            return _bounded(response, most_bytes)

        super().__init__(oauth, send, skew=skew, clock=clock)

    def close(self) -> None:
        """Closes the session."""
        self._http.close()


def raise_for_refusal(response: requests.Response) -> requests.Response:
    """Raises GatewayError if the response is a refusal of the gateway; else returns it."""
    refusal = gateway_error(response.status_code, list(response.headers.items()), response.content)
    if refusal is not None:
        raise refusal
    return response


def _as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared


def _call_of(request: requests.PreparedRequest) -> _Call | None:
    for hook in request.hooks.get("response", []):
        call = getattr(hook, "__self__", None)
        if isinstance(call, _Call) and call.prepared is request:
            return call
    return None


def _after_error(attempts: Attempts, error: requests.exceptions.RequestException, *, replays: bool) -> float | None:
    if not isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout) or isinstance(
        error, requests.exceptions.SSLError
    ):
        return None
    reason = getattr(error.args[0], "reason", None) if error.args else None
    was_sent = not isinstance(error, requests.exceptions.ConnectTimeout) and not isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )
    return attempts.after_failure(was_sent=was_sent) if replays or not was_sent else None


def _after_response(attempts: Attempts, call: _Call | None, response: requests.Response) -> float | None:
    if call is None or response.status_code not in (600, 949):
        return attempts.after_status(response.status_code, response.headers.get("retry-after"))
    body = _read(response, _MOST_OF_REFUSAL)
    response.raw = _in_memory(response.raw, body)
    try:
        call.exchange.open(_answer(response, body))
    except GatewayError as refusal:
        return attempts.after_refusal(refusal)
    except PortcullisError:
        # Verified once more, and told, by Auth.
        pass
    return None


def _answer(response: requests.Response, body: bytes) -> Answer:
    raw: urllib3.HTTPResponse = response.raw
    return Answer(response.status_code, tuple(raw.headers.iteritems()), body)


def _read(response: requests.Response, most_bytes: int) -> bytes:
    """The body as it came, before its Content-Encoding is undone."""
    whole = Whole(most_bytes)
    raw: urllib3.HTTPResponse = response.raw
    is_whole = False
    try:
        if (response.request.method or "").upper() != "HEAD" and response.status_code != 304:
            whole.announce(response.headers.get("content-length"))
        while piece := raw.read(_PIECE, decode_content=False):
            whole.add(piece)
        is_whole = True
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(error, request=response.request) from error
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error, request=response.request) from error
    finally:
        if not is_whole:
            # Something of it is still on its way: the connection is of no more use.
            raw.close()
    raw.release_conn()
    return whole.bytes()


def _bounded(response: requests.Response, most_bytes: int) -> Answer:
    """An answer of the gateway itself or of a token endpoint."""
    raw = _read(response, most_bytes)
    return as_asked(_answer(response, raw))


def _in_memory(raw: urllib3.HTTPResponse, body: bytes) -> urllib3.HTTPResponse:
    """A response with another body."""
    return urllib3.HTTPResponse(
        io.BytesIO(body),
        headers=raw.headers,
        status=raw.status,
        version=raw.version,
        reason=raw.reason,
        preload_content=False,
        decode_content=False,
        # Where requests looks for cookies.
        original_response=raw._original_response,  # noqa: SLF001
        enforce_content_length=False,
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _host(url: urllib3.util.Url) -> str:
    default = {"http": 80, "https": 443}.get(url.scheme or "")
    return url.host or "" if url.port in (None, default) else f"{url.host}:{url.port}"


def _body(body: Any) -> bytes:
    """The bytes of a body, whatever requests has been given."""
    if body is None:
        return b""
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return _encoded(body.read())
    return b"".join(_encoded(piece) for piece in body)


def _encoded(piece: str | bytes) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece
