"""Sessions, against a stand-in for the gateway's endpoints for logins: single flight, expiry, stores.

What the endpoints themselves do is tested in test_gateway.py, with a real gateway.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from standin import ACCESS_KEY, SECRET, Received, Reply, StandIn, is_well_signed, signed

import portcullis_client.httpx as for_httpx
import portcullis_client.requests as for_requests
from portcullis_client import (
    Api,
    Fo,
    HttpSignatures,
    LoginError,
    MemoryStore,
    Plain,
    PortcullisError,
    Secret,
    SessionEndedError,
    TokenPair,
    UnsupportedError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 50
LOGIN = {"username": "ada", "password": "correct horse"}


class Endpoints:
    """The endpoints for logins of a dialect. It is a stand-in: it keeps one session."""

    def __init__(self, server: StandIn, dialect: str) -> None:
        self.dialect, self.numbers, self.live, self.now = dialect, itertools.count(1), 0, 1000.0
        self.lifetime, self.refreshes, self.refuses_refresh, self.breaks = 600, 0, False, False
        self.gate, self.refreshing = threading.Event(), threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        server.answer = self.answer

    def pair(self) -> dict[str, Any]:
        self.live = next(self.numbers)
        pair: dict[str, Any] = {"access_token": f"a{self.live}", "refresh_token": f"r{self.live}"}
        if self.dialect != "api":
            return {**pair, "expires_in": self.lifetime}
        return pair

    def answer(self, received: Received) -> Reply:
        signs = self.dialect in ("fo", "api")
        assert not signs or is_well_signed(self.dialect, received)
        reply = self.reply(received, json.loads(received.body) if received.body else {})
        return signed(self.dialect, received, reply) if signs else reply

    def reply(self, received: Received, said: dict[str, Any]) -> Reply:  # noqa: PLR0911 (one for each endpoint)
        path, own = received.target, self.dialect in ("fo", "api")
        if path in ("/auth/v1/login", "/-/token"):
            if said != LOGIN:
                return self.says(401, None, 400) if own else problem(401)
            pair = self.pair() | {"user_info": {"id": 7}}
            if self.dialect == "api":
                pair["expires_in"] = self.now + self.lifetime
            return self.says(200, pair)
        if path in ("/auth/v1/token/refresh", "/auth/v1/token", "/-/token/refresh"):
            self.refreshing.set()
            assert self.gate.wait(20)
            with self.lock:
                self.refreshes += 1
                if self.breaks:
                    return Reply(breaks=True)
                if self.refuses_refresh or said != {"refresh_token": f"r{self.live}"}:
                    return self.says(200, None, 400) if own else problem(401)
                return self.says(200, self.pair())
        if path == "/auth/v1/token/alive":
            return self.says(200, {"expires_in": 17 if said["access_token"] == f"a{self.live}" else -2})
        token = received.get(f"x-{self.dialect}-access-token") or (received.get("authorization") or "").removeprefix(
            "Bearer "
        )
        if path == "/auth/v1/logout":
            self.live = 0
            return self.says(200, None)
        if path == "/-/token/revoke":
            self.live = 0
            return Reply(204)
        if token != f"a{self.live}":
            return REFUSED.get(self.dialect) or problem(401, "Bearer")
        if path == "/account/v1/logout":
            self.live = 0
            return self.says(200, None)
        if path == "/account/v1/password/change":
            return self.says(200, None) if said.get("old") == "o" else self.says(200, None, 400)
        return Reply(200, [], b"called")

    def says(self, status: int, data: Any, code: int = 200) -> Reply:
        if self.dialect == "plain":
            return Reply(status, [], json.dumps(data).encode())
        return Reply(200, [], json.dumps({"code": code, "data": data, "msg": "said"}).encode())


REFUSED = {
    "fo": Reply(949, [], b'{"code":401,"value":null,"message":"401 Bad Access Token"}'),
    "api": Reply(600, [], b'{"code":600,"data":null,"msg":"600 Bad Access Token"}'),
}


def problem(status: int, scheme: str = "Login") -> Reply:
    body = {"status": status, "code": "invalid_credential", "detail": "no", "request_id": "r"}
    fields = [("Content-Type", "application/problem+json"), ("WWW-Authenticate", f'{scheme} realm="here"')]
    return Reply(status, fields, json.dumps(body).encode())


DIALECTS: dict[str, Any] = {
    "fo": Fo(ACCESS_KEY, SECRET),
    "api": Api(ACCESS_KEY, SECRET),
    "plain": Plain("pck_1"),
}


@pytest.fixture(params=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def endpoints(stand_in: StandIn, dialect: str) -> Endpoints:
    return Endpoints(stand_in, dialect)


@pytest.fixture(params=["httpx", "requests"])
def both(request: pytest.FixtureRequest, stand_in: StandIn, dialect: str, endpoints: Endpoints) -> Iterator[Any]:
    """A session that is not logged in, and a way to call with it, in httpx and in requests."""
    clock = lambda: endpoints.now  # noqa: E731
    if request.param == "httpx":
        with httpx.Client(verify=False, timeout=20) as client:
            auth = for_httpx.Auth(stand_in.url, DIALECTS[dialect])
            session = for_httpx.Session(client, auth, clock=clock)
            yield session, lambda: client.get(stand_in.url + "/a/b/", auth=session.auth).content
        return
    with requests.Session() as http:
        http.trust_env = False
        own = for_requests.Auth(stand_in.url, DIALECTS[dialect])
        other = for_requests.Session(http, own, clock=clock)
        yield other, lambda: http.get(stand_in.url + "/a/b/", auth=other.auth, timeout=20).content


def test_a_session(both: Any, endpoints: Endpoints, dialect: str) -> None:
    session, call = both
    with pytest.raises(SessionEndedError, match="nobody"):
        call()
    session.logout()
    with pytest.raises(LoginError) as caught:
        session.login({"username": "ada", "password": "wrong"})
    assert caught.value.code == ("invalid_credential" if dialect == "plain" else 400)
    pair = session.login(LOGIN)
    assert (pair.access_token, pair.expires_at, pair.lifetime) == ("a1", 1600, 600)
    assert session.user_info == {"id": 7}
    assert call() == b"called"
    if dialect == "fo":
        assert session.alive() == 17
    else:
        with pytest.raises(UnsupportedError):
            session.alive()
        with pytest.raises(UnsupportedError):
            session.change_password({})
        with pytest.raises(UnsupportedError):
            session.login({"phone": "7"}, sms=True)
    assert session.refresh().access_token == "a2"
    assert session.user_info == {"id": 7}
    assert session.pair.lifetime == 600
    session.logout()
    assert session.pair is None
    assert endpoints.live == 0
    session.logout()


@pytest.mark.parametrize("dialect", ["fo"])
def test_a_password_is_changed(both: Any, endpoints: Endpoints) -> None:
    session, _ = both
    session.login(LOGIN)
    with pytest.raises(LoginError, match="said"):
        session.change_password({"old": "wrong"})
    assert session.pair is not None
    session.change_password({"old": "o"})
    assert session.pair is None
    # The gateway has ended it already: a logout is none the worse.
    session.login(LOGIN)
    endpoints.live = 0
    session.logout()
    assert session.pair is None


def test_a_pair_is_renewed_before_it_ends(both: Any, endpoints: Endpoints) -> None:
    session, call = both
    session.login(LOGIN)
    endpoints.now += 569
    assert call() == b"called"
    assert endpoints.refreshes == 0
    endpoints.now += 1
    assert call() == b"called"
    assert (endpoints.refreshes, session.pair.access_token) == (1, "a2")


def test_a_pair_that_is_refused_is_renewed_once(both: Any, endpoints: Endpoints) -> None:
    session, call = both
    session.login(LOGIN)
    stale = session.pair
    session.refresh()
    session._kept.save(TokenPair("a0", "r2", stale.expires_at, stale.lifetime))
    assert call() == b"called"
    assert session.pair.access_token == "a3"
    endpoints.refuses_refresh = True
    session._kept.save(TokenPair("a0", "r3", stale.expires_at, stale.lifetime))
    with pytest.raises(SessionEndedError):
        call()
    assert session.pair is None


def test_a_refresh_that_breaks_ends_nothing(both: Any, endpoints: Endpoints) -> None:
    session, call = both
    session.login(LOGIN)
    endpoints.now += 1000
    endpoints.breaks = True
    with pytest.raises((httpx.TransportError, requests.exceptions.ConnectionError)):
        call()
    endpoints.breaks = False
    assert call() == b"called"
    assert session.pair.access_token == "a2"


def test_many_threads_renew_once(both: Any, endpoints: Endpoints) -> None:
    session, _ = both
    session.login(LOGIN)
    endpoints.now += 1000
    endpoints.gate.clear()
    start, tokens = threading.Barrier(MANY + 1), list[str]()

    def run() -> None:
        start.wait()
        tokens.append(session.token())

    threads = [threading.Thread(target=run) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    start.wait()
    endpoints.gate.set()
    for thread in threads:
        thread.join()
    assert tokens == ["a2"] * MANY
    assert endpoints.refreshes == 1


def test_a_logout_ends_what_is_being_renewed(both: Any, endpoints: Endpoints) -> None:
    session, call = both
    session.login(LOGIN)
    endpoints.now += 1000
    endpoints.gate.clear()
    renewing = threading.Thread(target=session.token)
    renewing.start()
    assert endpoints.refreshing.wait(20)
    leaving = threading.Thread(target=session.logout)
    leaving.start()
    endpoints.gate.set()
    renewing.join()
    leaving.join()
    assert (endpoints.refreshes, endpoints.live, session.pair) == (1, 0, None)
    with pytest.raises(SessionEndedError):
        call()


def test_many_threads_share_a_failure(both: Any, endpoints: Endpoints) -> None:
    session, _ = both
    session.login(LOGIN)
    endpoints.now += 1000
    endpoints.refuses_refresh = True
    endpoints.gate.clear()
    start, failures = threading.Barrier(MANY + 1), list[PortcullisError]()

    def run() -> None:
        start.wait()
        try:
            session.token()
        except PortcullisError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    start.wait()
    endpoints.gate.set()
    for thread in threads:
        thread.join()
    assert len(failures) == MANY
    assert all(isinstance(error, SessionEndedError) for error in failures)
    assert endpoints.refreshes == 1


def test_many_tasks_renew_once(stand_in: StandIn, endpoints: Endpoints, dialect: str) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(verify=False, timeout=20) as client:
            auth = for_httpx.Auth(stand_in.url, DIALECTS[dialect])
            session = for_httpx.AsyncSession(client, auth, clock=lambda: endpoints.now)
            await session.login(LOGIN)
            endpoints.now += 1000
            # One who is cancelled does not take the others along, not even the first.
            endpoints.gate.clear()
            tasks = [asyncio.create_task(session.token_async()) for _ in range(MANY)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            endpoints.gate.set()
            tokens = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(tokens[0], asyncio.CancelledError)
            assert tokens[1:] == ["a2"] * (MANY - 1)
            assert endpoints.refreshes == 1
            assert (await client.get(stand_in.url + "/a/b/", auth=session.auth)).content == b"called"
            # Refused by all at once.
            stale = session.pair
            assert stale is not None
            session._kept.save(TokenPair("a0", "r2", stale.expires_at, stale.lifetime))
            calls = [client.get(stand_in.url + "/a/b/", auth=session.auth) for _ in range(MANY)]
            assert {answer.content for answer in await asyncio.gather(*calls)} == {b"called"}
            assert endpoints.refreshes == 2
            if dialect == "fo":
                assert await session.alive() == 17
                await session.change_password({"old": "o"})
                await session.login(LOGIN)
            assert (await session.refresh()).refresh_token
            await session.logout()
            await session.logout()
            assert session.pair is None
            with pytest.raises(SessionEndedError):
                await session.token_async()

    asyncio.run(main())


def test_pairs_are_kept(stand_in: StandIn, endpoints: Endpoints, dialect: str) -> None:
    class Store(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.saved: list[str] = []

        def load(self) -> TokenPair | None:
            return TokenPair.from_dict(json.loads(self.saved[-1])) if self.saved and self.saved[-1] else None

        def save(self, pair: TokenPair | None) -> None:
            self.saved.append(json.dumps(pair.to_dict()) if pair else "")

    store = Store()
    with httpx.Client(verify=False, timeout=20) as client:
        auth = for_httpx.Auth(stand_in.url, DIALECTS[dialect])
        first = for_httpx.Session(client, auth, store=store, clock=lambda: endpoints.now)
        first.login(LOGIN)
        # Another process.
        second = for_httpx.Session(client, auth, store=store, clock=lambda: endpoints.now)
        assert second.pair == first.pair
        assert second.user_info == {"id": 7}
        endpoints.now += 1000
        assert second.token() == "a2"
        # What the other has renewed is taken over, not renewed once more with a token that is spent.
        assert first.token() == "a2"
        assert endpoints.refreshes == 1
        first.logout()
        assert store.load() is None


@pytest.mark.parametrize("dialect", ["plain"])
def test_signed_calls_with_tokens(stand_in: StandIn, endpoints: Endpoints) -> None:
    """Beside HTTP message signatures, users log in at `/-/token`, with the API key of the client."""
    with httpx.Client(verify=False, timeout=20) as client:
        signer = HttpSignatures(Secret(ACCESS_KEY, SECRET), verify=False, api_key="pck_1")
        session = for_httpx.Session(client, for_httpx.Auth(stand_in.url, signer), clock=lambda: endpoints.now)
        session.login(LOGIN)
        login = stand_in.received[-1]
        assert (login.get("x-api-key"), login.get("signature")) == ("pck_1", None)
        assert client.get(stand_in.url + "/a/b/", auth=session.auth).content == b"called"
        assert '"authorization"' in (stand_in.received[-1].get("signature-input") or "")


@pytest.mark.parametrize("dialect", ["plain"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"no",
        b'{"access_token":"a"}',
        b'{"access_token":1,"refresh_token":"r"}',
        b'{"access_token":"a","refresh_token":"r","expires_in":true}',
        b'{"access_token":"a","refresh_token":"r","expires_in":1e999}',
        b'{"access_token":"a","refresh_token":"r","expires_in":1%s}' % (b"0" * 400),
    ],
)
def test_answers_that_cannot_be_read(stand_in: StandIn, both: Any, body: bytes) -> None:
    session, _ = both
    for status in (200, 500):
        stand_in.answer = lambda _, status=status: Reply(status, [], body)
        with pytest.raises(LoginError, match="cannot be read"):
            session.login(LOGIN)
    stand_in.answer = lambda _: Reply(200, [("Content-Encoding", "gzip")], body)
    with pytest.raises(VerificationError, match="Content-Encoding"):
        session.login(LOGIN)
    assert session.pair is None


def test_tokens_are_not_shown(both: Any) -> None:
    session, _ = both
    pair = session.login(LOGIN)
    shown = repr(pair) + str(pair) + repr(session) + repr(session.auth)
    assert "a1" not in shown
    assert "r1" not in shown
    assert "correct" not in shown


@pytest.mark.parametrize("dialect", ["plain"])
def test_the_wrong_kind_of_tokens(stand_in: StandIn, both: Any) -> None:
    session, _ = both

    async def main() -> None:
        async with httpx.AsyncClient(verify=False, timeout=20) as client:
            with pytest.raises(TypeError, match="asynchronous"):
                await client.get(stand_in.url, auth=for_httpx.Auth(stand_in.url, Plain(), tokens=session))
            tokens = for_httpx.AsyncSession(client, for_httpx.Auth(stand_in.url, Plain()))
        with httpx.Client(verify=False, timeout=20) as other, pytest.raises(TypeError, match="asynchronous"):
            other.get(stand_in.url, auth=tokens.auth)  # noqa: ASYNC212 (it is not sent)

    asyncio.run(main())
