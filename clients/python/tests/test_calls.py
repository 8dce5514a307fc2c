"""What goes over the wire and what comes back, with httpx, httpx in asyncio, and requests; against a stand-in."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from callers import KINDS, Caller
from standin import ACCESS_KEY, SECRET, Received, Reply, StandIn, is_well_signed, signed

import portcullis_client.httpx as for_httpx
import portcullis_client.requests as for_requests
from portcullis_client import (
    Answer,
    AnswerTooLargeError,
    Api,
    FixedToken,
    Fo,
    ForeignOriginError,
    GatewayError,
    HttpSignatures,
    Plain,
    PrivateKey,
    RedirectError,
    Request,
    Secret,
    SigningError,
    VerificationError,
)
from portcullis_client.components import content_digest, signature_base
from portcullis_client.sealing import seal, unseal
from portcullis_client.structured import InnerList, Item, serialize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DIALECTS = ["fo", "api"]


def dialect_of(name: str, **settings: Any) -> Any:
    return {"fo": Fo, "api": Api}[name](ACCESS_KEY, SECRET, **settings)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def caller(kind: str) -> Iterator[Callable[..., Caller]]:
    made: list[Caller] = []

    def make(gateway: str, dialect: Any, **settings: Any) -> Caller:
        made.append(Caller(kind, gateway, dialect, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def sign_all(stand_in: StandIn, dialect: str, reply: Reply, **more: Any) -> None:
    """Has the stand-in give this reply to each request, signed."""
    stand_in.answer = lambda received: signed(dialect, received, reply, **more)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "target",
    [
        "/orders/v1/",
        "/orders/v1/7?full=1",
        "/orders/v1/a%2fb%20c?x=%c3%bc+y&z",
        "/orders/v1/ü?ü[]=ü",
        "/a//b/./c",
        "/a?",
        "/",
    ],
)
def test_requests_are_signed_as_they_are_sent(
    stand_in: StandIn, caller: Callable[..., Caller], dialect: str, target: str
) -> None:
    sign_all(stand_in, dialect, Reply(200, [], b"good"))
    for settings in ({"algorithm": "sha256"} if dialect == "fo" else {}, {}):
        one = caller(stand_in.url, dialect_of(dialect, **settings))
        for method, body in (("GET", None), ("POST", b"\x00tea\xff"), ("DELETE", None), ("POST", b"")):
            assert one.call(method, target, body=body).content == b"good"
            received = stand_in.received[-1]
            assert received.body == (body or b"")
            assert received.get("host") == stand_in.host
            length = 43 if settings else 27
            algorithm = "sha256" if settings else "sha1"
            assert is_well_signed(dialect, received, algorithm)
            assert dialect == "api" or len(received.get("x-fo-signature") or "") == length


def test_a_host_that_is_given_is_signed(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    caller(stand_in.url, dialect_of("fo")).call("GET", "/a/b/", headers={"Host": "API.example.com", "X-Fo-Extra": "x  y"})
    received = stand_in.received[-1]
    assert received.get("host") == "API.example.com"
    assert is_well_signed("fo", Received(received.method, received.target, received.headers, b""))


def test_bodies_that_are_streams(stand_in: StandIn, caller: Callable[..., Caller], kind: str, tmp_path: Any) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    async def pieces_async() -> Any:
        yield b"one"
        yield b"two"

    for settings in ({}, {"seal": True}):
        one = caller(stand_in.url, dialect_of("fo", **settings))
        sign_all(stand_in, "fo", Reply(204))
        one.call("POST", "/a/b/", body=pieces_async() if kind == "asyncio" else pieces())
        received = stand_in.received[-1]
        assert received.body == b"onetwo" or unseal(SECRET, received.body) == b"onetwo"
        assert is_well_signed("fo", received)
        # One framing, and no other.
        assert received.get("transfer-encoding") is None
        assert received.get("content-length") == str(len(received.body))
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    one = caller(stand_in.url, dialect_of("fo"))
    if kind == "requests":
        file = tmp_path / "file"
        file.write_bytes(b"of a file")
        with file.open("rb") as opened:
            one.call("POST", "/a/b/", body=opened)
        assert stand_in.received[-1].body == b"of a file"
        one.call("POST", "/a/b/", body="ü")
        assert stand_in.received[-1].body == "ü".encode()
        assert is_well_signed("fo", stand_in.received[-1])


def test_a_copy_of_a_signed_request_is_not_verified(stand_in: StandIn) -> None:
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    with requests.Session() as session:
        auth = for_requests.Auth(stand_in.url, dialect_of("fo"))
        prepared = session.prepare_request(requests.Request("GET", stand_in.url + "/a/b/", auth=auth))
        assert session.send(prepared, timeout=20).content == b"good"
        with pytest.raises(VerificationError, match="copy"):
            session.send(prepared.copy(), timeout=20)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_signed_is_what_was_on_the_wire(stand_in: StandIn, caller: Callable[..., Caller], dialect: str) -> None:
    packed = gzip.compress(b"unpacked")
    one = caller(stand_in.url, dialect_of(dialect))
    sign_all(stand_in, dialect, Reply(200, [("Content-Encoding", "gzip")], packed))
    assert one.call("GET", "/a/b/").content == b"unpacked"
    for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304), ("POST", 204)):
        sign_all(stand_in, dialect, Reply(status, [("ETag", '"1"'), ("Content-Length", "7")] if method == "HEAD" else []))
        got = one.call(method, "/a/b/")
        assert (got.status, got.content) == (status, b"")
    # Signed over what it unpacks to: not what was on the wire.
    stand_in.answer = lambda received: Reply(
        200,
        [*signed(dialect, received, Reply(200, [], b"unpacked")).headers, ("Content-Encoding", "gzip")],
        packed,
    )
    with pytest.raises(VerificationError):
        one.call("GET", "/a/b/")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_was_changed_is_raised(stand_in: StandIn, caller: Callable[..., Caller], dialect: str) -> None:
    one = caller(stand_in.url, dialect_of(dialect))
    for change in (lambda body: body + b"x", lambda body: body[:-1] or b"y"):
        stand_in.answer = lambda received, change=change: Reply(
            200, signed(dialect, received, Reply(200, [], b"good")).headers, change(b"good")
        )
        with pytest.raises(VerificationError):
            one.call("GET", "/a/b/")
    stand_in.answer = lambda _: Reply(200, [], b"unsigned")
    with pytest.raises(VerificationError, match="not signed"):
        one.call("GET", "/a/b/")
    # A replayed answer: it was good for another call.
    kept: list[Reply] = []

    def replay(received: Received) -> Reply:
        kept.append(signed(dialect, received, Reply(200, [], b"old")))
        return kept[0]

    stand_in.answer = replay
    assert one.call("GET", "/a/b/").content == b"old"
    with pytest.raises(VerificationError, match="another call"):
        one.call("GET", "/a/b/")
    assert len(stand_in.received) == 5
    unverified = caller(stand_in.url, dialect_of(dialect, verify=False))
    assert unverified.call("GET", "/a/b/").content == b"old"
    assert stand_in.received[-1].get("x-fo-sign-response") is None


def test_refusals_are_raised(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    refusal = b'{"code":432,"value":null,"message":"432 No Permission"}'
    stand_in.answer = lambda _: Reply(949, [("X-Request-Id", "r-7"), ("Content-Type", "application/json")], refusal)
    for settings in ({}, {"verify": False}):
        with pytest.raises(GatewayError) as caught:
            caller(stand_in.url, dialect_of("fo", **settings)).call("GET", "/a/b/")
        assert (caught.value.code, caught.value.request_id) == (432, "r-7")


def test_sealed_calls(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    stand_in.answer = lambda received: signed(
        "fo", received, Reply(200, [("Content-Type", "text/plain")], seal(SECRET, b"opened").encode()), encrypted=True
    )
    one = caller(stand_in.url, dialect_of("fo", seal=True), tokens=FixedToken("a token"))
    for method, body in (("GET", None), ("PUT", b"the tea")):
        got = one.call(method, "/orders/v1/7?x=%C3%BC", headers={"X-Tenant": "acme", "Cookie": "a=1"}, body=body)
        assert (got.content, got.headers.get("content-length")) == (b"opened", "6")
        received = stand_in.received[-1]
        assert received.target == "/orders/v1/"
        assert is_well_signed("fo", received)
        assert unseal(SECRET, received.get("x-fo-encrypted-uri") or "") == b"/orders/v1/7?x=%C3%BC"
        inner = unseal(SECRET, received.get("x-fo-encrypted-headers") or "")
        assert b"acme" in inner
        assert b"a token" in inner
        assert (unseal(SECRET, received.body) if received.body else None) == body
        wire = repr(received)
        assert not any(part in wire for part in ("acme", "a=1", "a token", "the tea", "x=%C3"))


def test_an_outer_path_is_sent_as_it_is_signed(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    sign_all(stand_in, "fo", Reply(204))
    assert caller(stand_in.url, dialect_of("fo", seal=True, sealed_path="/in/?x")).call("GET", "/a").status == 204
    assert stand_in.received[-1].target == "/in/?x"
    assert is_well_signed("fo", stand_in.received[-1])
    with pytest.raises(SigningError, match="as it is"):
        caller(stand_in.url, dialect_of("fo", seal=True, sealed_path="/in v1/")).call("GET", "/a")
    assert len(stand_in.received) == 1


def test_a_refusal_without_an_end_is_not_waited_for(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    class Tokens(FixedToken):
        def renew(self, used: str) -> str:
            return used + "2"

        async def renew_async(self, used: str) -> str:
            return used + "2"

    stand_in.answer = lambda received: (
        Reply(200, [], b"good") if received.get("authorization") == "Bearer t2" else Reply(401, [], b"x", announced=10**12)
    )
    assert caller(stand_in.url, Plain(), tokens=Tokens("t")).call("GET", "/a").content == b"good"


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("dialect", ["fo", "api", "http", "plain", "sealed"])
def test_no_credential_follows_a_redirect(
    stand_in: StandIn, other_stand_in: StandIn, caller: Callable[..., Caller], dialect: str, follow: bool
) -> None:
    dialects = {
        "http": HttpSignatures(Secret(ACCESS_KEY, SECRET), verify=False, api_key="pck_1"),
        "plain": Plain("pck_1"),
        "sealed": Fo(ACCESS_KEY, SECRET, seal=True),
    }
    signer: Any = dialects.get(dialect) or dialect_of(dialect)
    form = "fo" if dialect in ("fo", "sealed") else "api" if dialect == "api" else None
    for place in (stand_in.url + "/a/b/elsewhere", other_stand_in.url + "/a/b/x"):
        stand_in.received.clear()

        def answer(received: Received, place: str = place) -> Reply:
            moved = received.target.endswith(("/a/b/", "/start"))
            reply = Reply(302, [("Location", place)]) if moved else Reply(200, [], b"moved")
            return reply if form is None else signed(form, received, reply)

        stand_in.answer = answer
        other_stand_in.answer = lambda _: Reply(200, [], b"foreign")
        one = caller(stand_in.url, signer, tokens=FixedToken("the-token"))
        if one.kind != "requests" and follow:
            with pytest.raises(RedirectError):
                one.call("GET", "/a/b/start", headers={"X-Private": "p"}, follow=True)
        else:
            got = one.call("GET", "/a/b/start", headers={"X-Private": "p"}, follow=follow)
            assert (got.status, got.headers["Location"]) == (302, place)
        first, *later = stand_in.received
        assert any(name.lower().startswith(("x-fo-", "x-api-", "signature", "authorization")) for name, _ in first.headers)
        for received in later + other_stand_in.received:
            names = {name.lower() for name, _ in received.headers}
            assert not any(name.startswith(("x-fo-", "x-api-", "signature", "authorization")) for name in names), names
            assert "the-token" not in repr(received)
            assert dialect != "sealed" or "x-private" not in names


def test_nothing_is_signed_for_another_origin(
    stand_in: StandIn, other_stand_in: StandIn, caller: Callable[..., Caller]
) -> None:
    one = caller(stand_in.url, dialect_of("fo"), tokens=FixedToken("t"))
    port = stand_in.url.rpartition(":")[2]
    for url in (other_stand_in.url + "/a/b/", f"http://localhost:{port}/a/b/", f"https://127.0.0.1:{port}/a/b/"):
        with pytest.raises(ForeignOriginError):
            one.call("GET", url)
    assert stand_in.received == other_stand_in.received == []


def test_answers_are_read_within_a_bound(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, dialect_of("fo"), most_bytes=1000)
    sign_all(stand_in, "fo", Reply(200, [], b"x" * 1000))
    assert len(one.call("GET", "/a/b/").content) == 1000
    sign_all(stand_in, "fo", Reply(200, [], b"x" * 1001))
    with pytest.raises(AnswerTooLargeError):
        one.call("GET", "/a/b/")
    # Announced only: nothing of it is waited for.
    sign_all(stand_in, "fo", Reply(200, [], b"x", announced=10**12))
    with pytest.raises(AnswerTooLargeError):
        one.call("GET", "/a/b/")
    # What it unpacks to is not counted: it is read after it was verified, by the caller.
    sign_all(stand_in, "fo", Reply(200, [("Content-Encoding", "gzip")], gzip.compress(bytes(100_000))))
    assert len(one.call("GET", "/a/b/").content) == 100_000


def test_an_answer_that_ends_early_is_an_error(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    def answer(received: Received) -> Reply:
        reply = signed("fo", received, Reply(200, [], b"half", announced=8))
        reply.closes = True
        return reply

    stand_in.answer = answer
    one = caller(stand_in.url, dialect_of("fo"))
    with pytest.raises((httpx.RemoteProtocolError, requests.exceptions.ChunkedEncodingError)):
        one.call("GET", "/a/b/")


def test_a_refused_token_is_renewed_once(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    class Tokens:
        def __init__(self) -> None:
            self.renewed: list[str] = []

        def token(self) -> str:
            return f"t{len(self.renewed)}"

        def renew(self, used: str) -> str:
            self.renewed.append(used)
            return self.token()

        async def token_async(self) -> str:
            return self.token()

        async def renew_async(self, used: str) -> str:
            return self.renew(used)

    refusal = b'{"code":401,"value":null,"message":"401 Bad Access Token"}'

    def answer(received: Received) -> Reply:
        if received.get("x-fo-access-token") in good:
            return signed("fo", received, Reply(200, [], b"good"))
        return signed("fo", received, Reply(949, [], refusal))

    stand_in.answer = answer
    good, tokens = {"t1"}, Tokens()
    one = caller(stand_in.url, dialect_of("fo"), tokens=tokens)
    assert one.call("POST", "/a/b/", body=b"x").content == b"good"
    assert tokens.renewed == ["t0"]
    nonces = [received.get("x-fo-nonce") for received in stand_in.received]
    assert len(set(nonces)) == len(nonces) == 2
    assert all(is_well_signed("fo", received) for received in stand_in.received)
    good.clear()
    with pytest.raises(GatewayError) as caught:
        one.call("GET", "/a/b/")
    assert caught.value.code == 401
    assert tokens.renewed == ["t0", "t1"]
    # A plain 401, of a service that looks at tokens itself.
    stand_in.answer = lambda received: Reply(200 if received.get("authorization") == "Bearer t3" else 401)
    plain = caller(stand_in.url, Plain("pck_1"), tokens=tokens)
    assert plain.call("GET", "/a/b/").status == 200
    assert stand_in.received[-1].get("x-api-key") == "pck_1"
    stand_in.answer = lambda _: Reply(401)
    assert plain.call("GET", "/a/b/").status == 401
    assert len(tokens.renewed) == 4
    # Here it is not the token.
    stand_in.answer = lambda _: Reply(401, [("WWW-Authenticate", "Basic")])
    assert plain.call("GET", "/a/b/").status == 401
    assert len(tokens.renewed) == 4
    # A token that cannot be renewed is not tried again.
    stand_in.answer = lambda _: Reply(401)
    before = len(stand_in.received)
    assert caller(stand_in.url, Plain(), tokens=FixedToken("f")).call("GET", "/a/b/").status == 401
    assert len(stand_in.received) == before + 1


def test_the_gateways_keys_are_fetched_or_pinned(stand_in: StandIn, caller: Callable[..., Caller], signatures: Any) -> None:
    pem = signatures["keys"]["test-key-ecc-p256"]["private_pem"].encode()
    jwk = {**signatures["keys"]["test-key-ecc-p256"]["private_jwk"], "kid": "gate-1"}
    del jwk["d"]
    key_set = json.dumps({"keys": [{"kty": "new"}, {"kid": "odd", "kty": "new"}, jwk]}).encode()
    names = {"kid": "gate-1"}

    def answer(received: Received) -> Reply:
        if received.target == "/.well-known/jwks.json":
            return Reply(200, [], key_set)
        req: Any = {"req": True}
        wanted = [Item("@status"), Item("content-digest"), Item("@method", req), Item("@target-uri", req)]
        wanted.append(Item("signature", {"req": True, "key": "sig1"}))
        covered = InnerList(tuple(wanted), {"created": int(time.time()), "keyid": names["kid"]})
        asked = Request(received.method, "http", stand_in.host, received.target, tuple(received.headers[1:]), b"")
        given = Answer(200, (("Content-Digest", content_digest(b"good")),), b"good")
        signature = PrivateKey.from_pem("", pem).sign(signature_base(covered, given, asked))
        return Reply(
            200,
            [
                *given.headers,
                ("Signature-Input", f"portcullis={serialize(covered)}"),
                ("Signature", f"portcullis=:{base64.b64encode(signature).decode()}:"),
            ],
            b"good",
        )

    stand_in.answer = answer
    own = PrivateKey.from_pem("till/1", signatures["keys"]["test-key-ed25519"]["private_pem"].encode())
    one = caller(stand_in.url, HttpSignatures(own))
    assert one.call("GET", "/a/b/").content == one.call("GET", "/a/b/").content == b"good"
    fetched = [received for received in stand_in.received if received.target.startswith("/.well")]
    assert len(fetched) == 1
    assert fetched[0].get("signature") is None
    pinned = caller(stand_in.url, HttpSignatures(own, answer_keys=key_set))
    assert pinned.call("GET", "/a/b/").content == b"good"
    assert len([received for received in stand_in.received if received.target.startswith("/.well")]) == 1
    names["kid"] = "gate-2"
    with pytest.raises(VerificationError, match="not known"):
        pinned.call("GET", "/a/b/")
    with pytest.raises(ValueError, match="no key"):
        HttpSignatures(own, answer_keys=b'{"keys":[]}')


def test_secrets_are_not_shown(stand_in: StandIn) -> None:
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    shown = []
    for auth in (
        for_httpx.Auth(stand_in.url, dialect_of("fo"), tokens=FixedToken("the token")),
        for_requests.Auth(stand_in.url, dialect_of("fo"), tokens=FixedToken("the token")),
    ):
        shown += [repr(auth), str(auth)]
    with httpx.Client(verify=False) as client:
        response = client.get(stand_in.url + "/a/b/", auth=auth_of(stand_in))
        shown += [repr(response), repr(response.request), repr(response.request.headers)]
    text = "".join(shown)
    assert "the token" not in text
    assert SECRET not in text
    signature = stand_in.received[-1].get("x-fo-signature") or "none"
    assert signature not in text


def auth_of(stand_in: StandIn) -> for_httpx.Auth:
    return for_httpx.Auth(stand_in.url, dialect_of("fo"), tokens=FixedToken("the token"))


def test_hooks_that_read_before(stand_in: StandIn) -> None:
    """A hook that logs bodies gets in the way only where what it read cannot be verified."""
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    with httpx.Client(
        verify=False, auth=auth_of(stand_in), event_hooks={"response": [lambda response: response.read()]}
    ) as client:
        assert client.get(stand_in.url + "/a/b/").content == b"good"
        sign_all(stand_in, "fo", Reply(200, [("Content-Encoding", "gzip")], gzip.compress(b"good")))
        with pytest.raises(VerificationError, match="event hook"):
            client.get(stand_in.url + "/a/b/")


def test_a_target_that_is_given_is_signed(stand_in: StandIn) -> None:
    sign_all(stand_in, "fo", Reply(200, [], b"good"))
    with httpx.Client(verify=False, auth=auth_of(stand_in)) as client:
        client.get(stand_in.url + "/a/b/", extensions={"target": b"/a/b/../%61"})
    assert stand_in.received[-1].target == "/a/b/../%61"
    assert is_well_signed("fo", stand_in.received[-1])


def test_streamed_answers_are_verified_first(stand_in: StandIn) -> None:
    sign_all(stand_in, "fo", Reply(200, [("Content-Encoding", "gzip")], gzip.compress(b"in pieces")))
    with (
        httpx.Client(verify=False, auth=auth_of(stand_in)) as client,
        client.stream("GET", stand_in.url + "/a/b/") as response,
    ):
        assert b"".join(response.iter_bytes(2)) == b"in pieces"
    with requests.Session() as session:
        auth = for_requests.Auth(stand_in.url, dialect_of("fo"))
        with session.get(stand_in.url + "/a/b/", auth=auth, stream=True, timeout=5) as answer:
            assert b"".join(answer.iter_content(2)) == b"in pieces"
    # Nobody has to trust a plain answer, and it is not held.
    stand_in.answer = lambda _: Reply(200, [], b"plain")
    with httpx.Client(verify=False, auth=for_httpx.Auth(stand_in.url, Plain())) as client:
        response = client.send(client.build_request("GET", stand_in.url + "/a/b/"), stream=True)
        assert not response.is_stream_consumed
        assert b"".join(response.iter_raw()) == b"plain"
