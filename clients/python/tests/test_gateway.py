"""The client against a real gateway, in every dialect and with every HTTP client."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from callers import KINDS, Caller
from conftest import Gateway, load

import portcullis_client.httpx as for_httpx
import portcullis_client.requests as for_requests
from portcullis_client import (
    Api,
    Fo,
    GatewayError,
    HttpSignatures,
    LoginError,
    MemoryStore,
    Plain,
    PrivateKey,
    Retry,
    Secret,
    SessionEndedError,
    TokenPair,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.gateway

MANY = 50
DIALECTS = ["fo", "fo-sha256", "fo-sealed", "api", "api-sealed", "hmac", "ed25519", "ecdsa-p256-sha256", "rsa-pss-sha512"]
SEALED = ["fo-sealed", "api-sealed"]
FOMALHAUT = [name for name in DIALECTS if name.startswith(("fo", "api"))]


def dialect_of(name: str, gateway: Gateway, **settings: Any) -> Any:
    """A dialect by its name in these tests."""
    if name in FOMALHAUT:
        if name.endswith("sealed"):
            settings["seal"] = True
        if name == "fo-sha256":
            settings["algorithm"] = "sha256"
        maker: Any = Fo if name.startswith("fo") else Api
        return maker(gateway.access_key, gateway.secret_key, **settings)
    if name == "hmac":
        return HttpSignatures(Secret(gateway.access_key, gateway.secret_key), **settings)
    return HttpSignatures(private_key(name, gateway), **settings)


def private_key(algorithm: str, gateway: Gateway) -> PrivateKey:
    keys = load("http-signatures.json")["keys"].values()
    pem = next(key["private_pem"] for key in keys if key["algorithm"] == algorithm)
    return PrivateKey.from_pem(f"{gateway.access_key}/{algorithm}", pem.encode())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def caller(gateway: Gateway, kind: str, dialect: str) -> Iterator[Caller]:
    one = Caller(kind, gateway.url, dialect_of(dialect, gateway))
    yield one
    one.close()


def test_calls(caller: Caller, gateway: Gateway, dialect: str) -> None:
    for method, target, body in (
        ("GET", "/orders/v1/7?full=1&x=%C3%BC+y", None),
        ("POST", "/orders/v1/pay", "tea for 中文".encode()),
        ("PUT", "/orders/v1/a%20b", b"\x01"),
        ("DELETE", "/orders/v1/", None),
        ("PATCH", "/orders/v1/x", b"{}"),
    ):
        headers = {"X-Tenant": "acme"} | ({"Content-Type": "text/plain"} if body else {})
        got = caller.call(method, target, headers=headers, body=body)
        assert got.status == 200
        said = json.loads(got.content)
        assert said["method"] == method
        assert said["target"] == target.removeprefix("/orders/v1")
        assert said["body"] == (body or b"").decode()
        assert said["headers"]["x-tenant"] == "acme"
        assert said["headers"]["x-app-id"] == gateway.access_key
        assert not body or said["headers"]["content-type"] == "text/plain"
        assert not any(name.startswith(("x-fo-", "signature")) for name in said["headers"])
    assert dialect in DIALECTS


def test_answers_of_every_kind(caller: Caller) -> None:
    body = bytes(range(256)) * 40
    assert caller.call("POST", "/orders/v1/same", body=body).content == body
    assert caller.call("GET", "/orders/v1/large").content == b"x" * 300_000
    assert caller.call("GET", "/orders/v1/pieces").content == b"onetwo"
    assert caller.call("GET", "/orders/v1/packed").content == b"unpacked " * 20
    for method, target, status, content in (
        ("HEAD", "/orders/v1/7", 200, b""),
        ("HEAD", "/orders/v1/failed", 500, b""),
        ("GET", "/orders/v1/nothing", 204, b""),
        ("POST", "/orders/v1/nothing", 204, b""),
        ("GET", "/orders/v1/unchanged", 304, b""),
        ("GET", "/orders/v1/empty", 200, b""),
        ("GET", "/orders/v1/failed", 500, b"sorry"),
        ("GET", "/orders/v1/moved", 302, b"moved"),
    ):
        got = caller.call(method, target)
        assert (got.status, got.content) == (status, content), f"{method} {target}"


def test_a_stream_is_not_taken_for_verified(caller: Caller, dialect: str) -> None:
    expected = GatewayError if dialect in SEALED else VerificationError
    with pytest.raises(expected):
        caller.call("GET", "/orders/v1/events")


@pytest.mark.parametrize("kind", ["httpx", "asyncio"])
def test_over_http2(gateway: Gateway, kind: str, dialect: str) -> None:
    one = Caller(kind, gateway.url, dialect_of(dialect, gateway), http2=True)
    assert json.loads(one.call("POST", "/orders/v1/x?y", body=b"tea").content)["body"] == "tea"
    assert one.call("HEAD", "/orders/v1/x").status == 200
    one.close()


@pytest.mark.parametrize("dialect", ["fo", "api", "hmac"])
def test_refusals(gateway: Gateway, kind: str, dialect: str) -> None:
    secret = gateway.secret_key[:-1] + ("a" if gateway.secret_key[-1] != "a" else "b")
    wrong = Gateway(gateway.url, gateway.access_key, secret, "", "", "")
    for settings, target, code in (
        (wrong, "/orders/v1/7", {"fo": 431, "api": 600, "hmac": "invalid_credential"}),
        (gateway, "/nowhere/v1/7", {"fo": 432, "api": 600, "hmac": "no_route"}),
    ):
        one = Caller(kind, gateway.url, dialect_of(dialect, settings))
        with pytest.raises(GatewayError) as caught:
            one.call("GET", target)
        one.close()
        assert caught.value.code == code[dialect]
        assert caught.value.request_id
        assert not caught.value.verified
        assert secret not in str(caught.value)


@pytest.mark.parametrize("dialect", FOMALHAUT)
def test_refusals_behind_the_signature_are_signed(caller: Caller, dialect: str) -> None:
    with pytest.raises(GatewayError) as caught:
        caller.call("GET", "/mine/v1/7")
    assert caught.value.verified
    assert caught.value.refuses_token
    if dialect in SEALED:
        assert caller.call("GET", "/sealed/v1/7").status == 200
    else:
        with pytest.raises(GatewayError) as caught:
            caller.call("GET", "/sealed/v1/7")
        assert caught.value.code in (400, 600)


@pytest.mark.parametrize("dialect", ["fo", "api", "fo-sealed", "hmac"])
def test_a_service_that_is_down(gateway: Gateway, kind: str, dialect: str) -> None:
    """A call whose attempts are bytes of their own: the same bytes would be a repeat, and 431."""
    retry = Retry(attempts=3, base=0.001)
    one = Caller(kind, gateway.url, dialect_of(dialect, gateway), retry=retry)
    if dialect == "hmac":
        assert one.call("GET", "/down/v1/7").status == 502
        assert one.call("GET", "/orders/v1/busy").status == 503
    else:
        with pytest.raises(GatewayError) as caught:
            one.call("GET", "/down/v1/7")
        assert caught.value.is_unavailable
        assert one.call("GET", "/orders/v1/busy").status == 503
    if kind != "asyncio":
        assert len(one.pauses) == (2 if dialect == "hmac" else 4)
    one.close()


def test_a_changed_call_is_refused(gateway: Gateway) -> None:
    def meddle(request: httpx.Request) -> None:
        request.stream = httpx.ByteStream(b"eat")

    with httpx.Client(
        auth=for_httpx.Auth(gateway.url, dialect_of("fo", gateway)), event_hooks={"request": [meddle]}
    ) as client:
        with pytest.raises(GatewayError) as caught:
            client.post(gateway.url + "/orders/v1/x", content=b"tea")
        assert caught.value.code == 431


def test_pinned_keys(gateway: Gateway, kind: str) -> None:
    key_set = httpx.get(gateway.url + "/.well-known/jwks.json").content
    own = private_key("ed25519", gateway)
    one = Caller(kind, gateway.url, HttpSignatures(own, answer_keys=key_set))
    assert one.call("GET", "/orders/v1/x").status == 200
    one.close()
    other = {**load("http-signatures.json")["keys"]["test-key-ecc-p256"]["private_jwk"]}
    other["kid"] = json.loads(key_set)["keys"][0]["kid"]
    one = Caller(kind, gateway.url, HttpSignatures(own, answer_keys=json.dumps({"keys": [other]})))
    with pytest.raises(VerificationError, match="does not match"):
        one.call("GET", "/orders/v1/x")
    one.close()


class Logged:
    """A session of one of the HTTP clients, behind one form."""

    def __init__(self, kind: str, gateway: Gateway, dialect: Any, **settings: Any) -> None:
        self.caller = Caller(kind, gateway.url, dialect)
        maker: Any = {
            "httpx": for_httpx.Session,
            "asyncio": for_httpx.AsyncSession,
            "requests": for_requests.Session,
        }[kind]
        self.session = maker(self.caller.http, self.caller.auth, **settings)

    def do(self, what: str, *arguments: Any, **more: Any) -> Any:
        return self.caller.run(getattr(self.session, what)(*arguments, **more))

    def call(self, target: str) -> Any:
        return json.loads(self.caller.call("GET", target, auth=self.session.auth).content)


def who(said: Any) -> Any:
    import base64

    return json.loads(base64.b64decode(said["headers"]["x-user-json"]))


@pytest.mark.parametrize("signs", [False, True])
def test_a_session_at_the_token_endpoint(gateway: Gateway, kind: str, signs: bool) -> None:
    """A user logs in at `/-/token`; calls are signed beside, or not."""
    dialect: Any = Plain(gateway.api_key)
    target = "/users/v1/me"
    if signs:
        dialect = HttpSignatures(Secret(gateway.access_key, gateway.secret_key), api_key=gateway.api_key)
        target = "/mine/v1/me"
    store = MemoryStore()
    one = Logged(kind, gateway, dialect, store=store)
    with pytest.raises(LoginError) as caught:
        one.do("login", {"username": gateway.username, "password": "wrong"})
    assert caught.value.code == "invalid_credential"
    one.do("login", {"username": gateway.username, "password": gateway.password})
    assert who(one.call(target)) == {"id": 7}
    first = store.load()
    assert first is not None
    assert one.do("refresh").access_token != first.access_token
    assert one.call(target)["target"] == "/me"
    # A token that is no good any more is renewed, and the call made once more.
    second = store.load()
    assert second is not None
    one.session._kept.save(TokenPair(first.access_token[:-4] + "AAAA", second.refresh_token, second.expires_at, 300))
    assert one.call(target)["target"] == "/me"
    third = store.load()
    assert third is not None
    assert third.refresh_token != second.refresh_token
    one.do("logout")
    with pytest.raises(SessionEndedError):
        one.call(target)
    one.session._kept.save(third)
    with pytest.raises(SessionEndedError):
        one.do("refresh")
    assert store.load() is None
    one.caller.close()


def test_a_token_is_not_renewed_for_another_reason(gateway: Gateway, kind: str) -> None:
    """Here the signature is refused, as what the gateway says of it tells."""
    wrong = HttpSignatures(Secret(gateway.access_key, "not the secret, but long"), api_key=gateway.api_key)
    one = Logged(kind, gateway, wrong)
    pair = one.do("login", {"username": gateway.username, "password": gateway.password})
    with pytest.raises(GatewayError) as caught:
        one.call("/mine/v1/me")
    assert (caught.value.challenge or "").startswith("Signature")
    assert one.session.pair == pair
    one.do("logout")
    one.caller.close()


def test_many_threads_renew_once(gateway: Gateway) -> None:
    """The gateway gives no grace here: a second renewal of the same pair would end the session."""
    with requests.Session() as http:
        session = for_requests.Session(http, for_requests.Auth(gateway.url, Plain(gateway.api_key)))
        pair = session.login({"username": gateway.username, "password": gateway.password})
        start = threading.Barrier(MANY)

        def run(_: int) -> str:
            start.wait()
            return session.renew(pair.access_token)

        with ThreadPoolExecutor(MANY) as pool:
            tokens = set(pool.map(run, range(MANY)))
        assert len(tokens) == 1
        assert session.refresh().access_token not in tokens
        session.logout()


def test_many_tasks_renew_once(gateway: Gateway) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            auth = for_httpx.Auth(gateway.url, Plain(gateway.api_key))
            session = for_httpx.AsyncSession(client, auth)
            pair = await session.login({"username": gateway.username, "password": gateway.password})
            tokens = await asyncio.gather(*(session.renew_async(pair.access_token) for _ in range(MANY)))
            assert len(set(tokens)) == 1
            assert (await session.refresh()).access_token not in tokens
            await session.logout()

    asyncio.run(main())


@pytest.mark.login
@pytest.mark.parametrize("dialect", [name for name in FOMALHAUT if name != "fo-sha256"])
def test_a_session_of_fomalhaut(gateway: Gateway, kind: str, dialect: str) -> None:
    one = Logged(kind, gateway, dialect_of(dialect, gateway))
    with pytest.raises(LoginError):
        one.do("login", {"username": gateway.username, "password": "wrong"})
    one.do("login", {"username": gateway.username, "password": gateway.password})
    assert one.session.user_info == {"id": 7}
    assert one.session.pair.lifetime > 0
    assert one.call("/mine/v1/me")["target"] == "/me"
    first = one.session.pair
    if dialect.startswith("fo"):
        assert 0 < one.do("alive") <= first.lifetime
    second = one.do("refresh")
    assert second.access_token != first.access_token
    assert second.lifetime > 0
    assert one.call("/mine/v1/me")["target"] == "/me"
    one.session._kept.save(TokenPair(first.access_token, second.refresh_token, second.expires_at, second.lifetime))
    assert one.call("/mine/v1/me")["target"] == "/me"
    third = one.session.pair
    one.do("logout")
    one.session._kept.save(third)
    with pytest.raises(SessionEndedError):
        one.call("/mine/v1/me")
    one.caller.close()


@pytest.mark.login
def test_a_password_is_changed(gateway: Gateway, kind: str) -> None:
    one = Logged(kind, gateway, dialect_of("fo", gateway))
    one.do("login", {"username": gateway.username, "password": gateway.password})
    other = gateway.password + " staple"
    with pytest.raises(LoginError):
        one.do("change_password", {"old_password": "wrong", "new_password": other})
    for old, new in ((gateway.password, other), (other, gateway.password)):
        one.do("change_password", {"old_password": old, "new_password": new})
        assert one.session.pair is None
        one.do("login", {"username": gateway.username, "password": new})
    one.do("logout")
    one.caller.close()
