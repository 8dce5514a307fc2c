"""Client credentials, against the OAuth 2.0 server of oauthlib."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import httpx
import pytest
import requests
from oauthlib.oauth2 import BackendApplicationServer, RequestValidator
from standin import Received, Reply, StandIn

import portcullis_client.httpx as for_httpx
import portcullis_client.requests as for_requests
from portcullis_client import GatewayError, OAuthClient, Plain, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 50
CLIENT, SECRET = "a client: ü", "s3cret & more: %"


class Validator(RequestValidator):
    """Knows one client, by client_secret_basic and client_secret_post."""

    def __init__(self, client: str, secret: str) -> None:
        self.known = (client, secret)

    def authenticate_client(self, request: Any, *_: Any, **__: Any) -> bool:
        given = str(request.headers.get("Authorization", ""))
        if given.startswith("Basic "):
            name, word = base64.b64decode(given[6:]).decode().split(":")
            client, secret = unquote_plus(name), unquote_plus(word)
        else:
            client, secret = request.client_id, request.client_secret
        request.client = type("Client", (), {"client_id": client})
        return (client, secret) == self.known

    def validate_grant_type(self, *_: Any, **__: Any) -> bool:
        return True

    def get_default_scopes(self, *_: Any, **__: Any) -> list[str]:
        return ["read"]

    def validate_scopes(self, client_id: str, scopes: list[str], *_: Any, **__: Any) -> bool:
        return set(scopes) <= {"read", "write"}

    def save_bearer_token(self, *_: Any, **__: Any) -> None:
        return None


class Server:
    """The token endpoint at `/token`, and a service that takes its newest token."""

    def __init__(self, stand_in: StandIn, client: str = CLIENT, secret: str = SECRET) -> None:
        self.oauth = BackendApplicationServer(Validator(client, secret), token_expires_in=600)
        self.url, self.given, self.gate, self.lock = stand_in.url, list[str](), threading.Event(), threading.Lock()
        self.asked: list[Received] = []
        self.gate.set()
        stand_in.answer = self.answer

    def answer(self, received: Received) -> Reply:
        if received.target != "/token":
            good = received.get("authorization") == f"Bearer {self.given[-1]}"
            return Reply(200, [], b"called") if good else Reply(401, [("WWW-Authenticate", "Bearer")])
        assert self.gate.wait(20)
        with self.lock:
            self.asked.append(received)
            headers, body, status = self.oauth.create_token_response(
                self.url + "/token", "POST", received.body.decode(), dict(received.headers)
            )
            if status == 200:
                self.given.append(json.loads(body)["access_token"])
            return Reply(status, list(headers.items()), body.encode())


@pytest.fixture
def server(stand_in: StandIn) -> Server:
    return Server(stand_in)


def client_of(server: Server, **more: Any) -> OAuthClient:
    return OAuthClient(server.url + "/token", **{"client_id": CLIENT, "client_secret": SECRET, **more})


class Clock:
    """A clock that somebody sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["httpx", "requests"])
def tokens(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a source of tokens, and a way to call with it."""
    opened: list[Any] = []

    def make(server: Server, oauth: OAuthClient, clock: Clock | None = None) -> Any:
        clock = clock or Clock()
        if request.param == "httpx":
            one = for_httpx.ClientCredentials(oauth, httpx.Client(verify=False), clock=clock)
            http = httpx.Client(verify=False, auth=for_httpx.Auth(server.url, Plain(), tokens=one))
            opened.extend([one, http])
            return one, lambda: http.get(server.url + "/a/b/").status_code
        other = for_requests.ClientCredentials(oauth, clock=clock)
        session = requests.Session()
        auth = for_requests.Auth(server.url, Plain(), tokens=other)
        opened.extend([other, session])
        return other, lambda: session.get(server.url + "/a/b/", auth=auth, timeout=20).status_code

    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize("authentication", ["client_secret_basic", "client_secret_post"])
def test_a_token(server: Server, tokens: Any, authentication: Any) -> None:
    oauth = client_of(server, authentication=authentication, scope="read write", more={"audience": "orders"})
    source, call = tokens(server, oauth)
    assert call() == call() == 200
    assert source.token() == server.given[0]
    assert len(server.asked) == 1
    asked = server.asked[0]
    assert (b"client_secret=" in asked.body) is (authentication == "client_secret_post")
    assert (asked.get("authorization") is not None) is (authentication == "client_secret_basic")
    assert b"scope=read+write" in asked.body
    assert b"audience=orders" in asked.body
    assert asked.get("content-type") == "application/x-www-form-urlencoded"


def test_a_token_is_renewed_before_it_ends_and_when_it_is_refused(server: Server, tokens: Any) -> None:
    clock = Clock()
    _, call = tokens(server, client_of(server), clock)
    call()
    clock.now = 569
    call()
    assert len(server.asked) == 1
    clock.now = 570
    call()
    assert len(server.asked) == 2
    server.given.append("none that was given")
    assert call() == 200
    assert len(server.asked) == 3


def test_a_token_that_is_always_refused(server: Server, tokens: Any, stand_in: StandIn) -> None:
    _, call = tokens(server, client_of(server))
    stand_in.answer = lambda received: server.answer(received) if received.target == "/token" else Reply(401)
    assert call() == 401
    assert len(server.asked) == 2


def test_errors_are_told(server: Server, tokens: Any) -> None:
    for more, code, status in (
        ({"client_secret": "wrong"}, "invalid_client", 401),
        ({"scope": "all"}, "invalid_scope", 400),
    ):
        source, call = tokens(server, client_of(server, **more))
        for ask in (source.token, call):
            with pytest.raises(GatewayError) as caught:
                ask()
            assert (caught.value.code, caught.value.status) == (code, status)
            assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"access_token":"t"}',
     b'{"access_token":"","token_type":"bearer"}', b'{"access_token":"t","token_type":"mac"}',
     b'{"access_token":1,"token_type":"bearer"}'],
)  # fmt: skip
def test_what_is_no_token(server: Server, tokens: Any, stand_in: StandIn, body: bytes) -> None:
    source, _ = tokens(server, client_of(server))
    stand_in.answer = lambda _: Reply(200, [], body)
    with pytest.raises(VerificationError):
        source.token()
    stand_in.answer = lambda _: Reply(302, [("Location", server.url + "/elsewhere")])
    with pytest.raises(GatewayError, match="302"):
        source.token()
    assert stand_in.received[-1].target == "/token"


@pytest.mark.parametrize(("expires", "due"), [(b"", 1e9), (b',"expires_in":"100"', 90), (b',"expires_in":0', 1)])
def test_how_long_a_token_is_used(server: Server, tokens: Any, stand_in: StandIn, expires: bytes, due: float) -> None:
    clock = Clock()
    source, _ = tokens(server, client_of(server), clock)
    stand_in.answer = lambda _: Reply(200, [], b'{"access_token":"t","token_type":"Bearer"' + expires + b"}")
    source.token()
    clock.now = due - 0.1
    source.token()
    assert len(stand_in.received) == 1
    clock.now = due + 0.1
    source.token()
    assert len(stand_in.received) == (1 if due == 1e9 else 2)


def test_many_threads_ask_once(server: Server, tokens: Any) -> None:
    source, _ = tokens(server, client_of(server))
    server.gate.clear()
    start, found = threading.Barrier(MANY + 1), list[str]()

    def run() -> None:
        start.wait()
        found.append(source.token())

    threads = [threading.Thread(target=run) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    start.wait()
    server.gate.set()
    for thread in threads:
        thread.join()
    assert found == server.given * MANY
    assert len(server.asked) == 1


def test_many_tasks_ask_once(server: Server) -> None:
    async def main() -> None:
        source = for_httpx.AsyncClientCredentials(client_of(server), clock=Clock())
        async with httpx.AsyncClient(
            verify=False, timeout=20, auth=for_httpx.Auth(server.url, Plain(), tokens=source)
        ) as client:
            answers = await asyncio.gather(*(client.get(server.url + "/a/b/") for _ in range(MANY)))
            assert {answer.status_code for answer in answers} == {200}
            assert len(server.asked) == 1
            server.given.append("none that was given")
            answers = await asyncio.gather(*(client.get(server.url + "/a/b/") for _ in range(MANY)))
            assert {answer.status_code for answer in answers} == {200}
            assert len(server.asked) == 2
        await source.aclose()

    asyncio.run(main())


def test_where_a_secret_goes() -> None:
    for url in ("http://example.com/token", "ftp://example.com/", "example.com"):
        with pytest.raises(ValueError, match="https"):
            OAuthClient(url, CLIENT, SECRET)
    with pytest.raises(ValueError, match="client_secret_basic"):
        OAuthClient("https://example.com/token", CLIENT, SECRET, authentication="none")  # type: ignore[arg-type]
    oauth = OAuthClient("https://example.com/token", CLIENT, SECRET)
    assert SECRET not in repr(oauth) + repr(for_requests.ClientCredentials(oauth))
