"""Answers that are not those of the gateway to this call are not taken, whatever was changed."""

from __future__ import annotations

import base64
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import ACCESS_KEY, SECRET, Received, Reply, is_well_signed, prefix_of, signed

from portcullis_client import (
    Answer,
    Api,
    Fo,
    GatewayError,
    HttpSignatures,
    PortcullisError,
    Request,
    Secret,
    SigningError,
    VerificationError,
)
from portcullis_client.components import content_digest, signature_base
from portcullis_client.sealing import seal, unseal
from portcullis_client.structured import InnerList, Item, parse_dictionary, serialize

NOW = 1_700_000_000
DIALECTS = ["fo", "api"]


def dialect_of(name: str, **settings: Any) -> Any:
    return {"fo": Fo, "api": Api}[name](ACCESS_KEY, SECRET, clock=lambda: NOW, **settings)


def request_of(method: str = "POST", target: str = "/orders/v1/7?full=1", body: bytes = b"tea") -> Request:
    return Request(method, "http", "127.0.0.1:6500", target, (("Content-Type", "text/plain"),), body)


def received(request: Request) -> Received:
    return Received(request.method, request.target, [("Host", request.host), *request.headers], request.body)


def answer_of(reply: Reply) -> Answer:
    return Answer(reply.status, tuple(reply.headers), reply.body)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_good_answer(dialect: str) -> None:
    exchange = dialect_of(dialect).sign(request_of())
    assert is_well_signed(dialect, received(exchange.request))
    reply = signed(dialect, received(exchange.request), Reply(200, [], b"\x00\xff"), now=NOW)
    assert exchange.open(answer_of(reply)) == b"\x00\xff"


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    target=st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=40),
    body=st.binary(max_size=60),
    fields=st.lists(
        st.tuples(
            st.sampled_from(["X-Fo-Extra", "x-fo-b", "X-Forwarded-For", "X-Api-Extra", "Accept"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10).map(str.strip),
        ),
        max_size=3,
        unique_by=lambda pair: pair[0].lower(),
    ),
)
def test_requests_are_signed_as_they_are(method: str, target: str, body: bytes, fields: list[tuple[str, str]]) -> None:
    request = Request(method, "http", "a.example", "/" + target, tuple(fields), body)
    sent = dialect_of("api").sign(request).request
    assert is_well_signed("api", received(sent))
    assert (sent.target, sent.body, sent.host) == (request.target, body, "a.example")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"now": NOW - 3601}, "time"),
        ({"now": NOW + 3601}, "time"),
        ({"Timestamp": "soon"}, "no time"),
        ({"Timestamp": ""}, "no time"),
        ({"Timestamp": f"{NOW},{NOW}"}, "no time"),
        ({"Request_Nonce": "another"}, "another call"),
        ({"Request_Nonce": ""}, "another call"),
        ({"Status": "201"}, "another call"),
        ({"Encrypt_Type": "aes"}, "is encrypted"),
        ({"Encrypt_Type": "rot13"}, "is encrypted"),
    ],
)
def test_answers_with_a_signature_and_a_fault(dialect: str, change: dict[str, Any], reason: str) -> None:
    exchange = dialect_of(dialect).sign(request_of())
    more = {"now": NOW, **change}
    reply = signed(dialect, received(exchange.request), Reply(200, [], b"x"), **more)
    with pytest.raises(VerificationError, match=reason):
        exchange.open(answer_of(reply))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answers_that_were_changed(dialect: str) -> None:
    exchange = dialect_of(dialect).sign(request_of())
    reply = signed(dialect, received(exchange.request), Reply(200, [], b"paid: 7"), now=NOW)
    exchange.open(answer_of(reply))
    prefix = prefix_of(dialect)
    for status, headers, body in [
        (201, reply.headers, reply.body),
        (949 if dialect == "fo" else 600, reply.headers, reply.body),
        (200, reply.headers, b"paid: 8"),
        (200, reply.headers, b""),
        (200, [], reply.body),
        (200, [pair for pair in reply.headers if not pair[0].endswith("-Signature")], reply.body),
        (200, [pair for pair in reply.headers if not pair[0].endswith("-Nonce")], reply.body),
        (200, [*reply.headers, (prefix + "Extra", "1")], reply.body),
        (200, [*reply.headers, reply.headers[-1]], reply.body),
        (200, [*reply.headers[:-1], (prefix + "Signature", "é")], reply.body),
    ]:
        with pytest.raises(VerificationError):
            exchange.open(Answer(status, tuple(headers), body))
    other = dialect_of(dialect).sign(request_of())
    with pytest.raises(VerificationError, match="another call"):
        other.open(answer_of(reply))
    for elsewhere in (request_of(target="/orders/v1/8"), request_of(method="PUT")):
        with pytest.raises(VerificationError, match="does not match"):
            dialect_of(dialect, nonce=lambda: exchange.nonce).sign(elsewhere).open(answer_of(reply))


@pytest.mark.parametrize(
    ("dialect", "status", "body", "code", "message"),
    [
        ("fo", 949, b'{"code":431,"value":null,"message":"431 Invalid Signature"}', 431, "431 Invalid Signature"),
        ("fo", 949, b"not JSON", None, "refused with status 949"),
        ("fo", 949, b"[" * 100_000, None, "refused with status 949"),
        ("fo", 949, b'{"code":"a","message":"a\\u0000\\nb"}', "a", "a??b"),
        ("api", 600, b'{"code":600,"data":null,"msg":"600 Bad Access Token"}', 600, "600 Bad Access Token"),
    ],
)
def test_refusals(dialect: str, status: int, body: bytes, code: object, message: str) -> None:
    exchange = dialect_of(dialect).sign(request_of())
    unsigned = Reply(status, [("X-Request-Id", "r-1"), ("Retry-After", "2")], body)
    with pytest.raises(GatewayError) as caught:
        exchange.open(answer_of(unsigned))
    refusal = caught.value
    assert (refusal.code, refusal.status, refusal.message) == (code, status, message)
    assert (refusal.request_id, refusal.retry_after, refusal.verified) == ("r-1", "2", False)
    assert refusal.refuses_token is (dialect == "api")
    assert str(refusal).startswith(f"{message} (status {status}")
    again = pickle.loads(pickle.dumps(refusal))
    assert (str(again), vars(again)) == (str(refusal), vars(refusal))
    with pytest.raises(GatewayError) as caught:
        exchange.open(answer_of(signed(dialect, received(exchange.request), unsigned, now=NOW)))
    assert caught.value.verified


@pytest.mark.parametrize("dialect", DIALECTS)
def test_sealed_calls(dialect: str) -> None:
    sealing = dialect_of(dialect, seal=True)
    exchange = sealing.sign(request_of(target="/orders/v1/7?secret=1"), "a token")
    sent = exchange.request
    assert sent.target == "/orders/v1/"
    assert is_well_signed(dialect, received(sent))
    wire = repr(sent.headers).encode() + sent.body
    assert not any(part in wire for part in (b"secret=1", b"a token", b"text/plain", b"tea"))
    assert unseal(SECRET, sent.body) == b"tea"
    answer = seal(SECRET, b"opened").encode()
    good = signed(dialect, received(sent), Reply(200, [], answer), encrypted=True, now=NOW)
    assert exchange.open(answer_of(good)) == b"opened"
    empty = signed(dialect, received(sent), Reply(204), now=NOW)
    assert exchange.open(answer_of(empty)) == b""
    in_clear = signed(dialect, received(sent), Reply(200, [], b"in clear"), now=NOW)
    with pytest.raises(VerificationError, match="not encrypted"):
        exchange.open(answer_of(in_clear))
    garbage = signed(dialect, received(sent), Reply(200, [], b"garbage"), encrypted=True, now=NOW)
    with pytest.raises(VerificationError, match="Base64"):
        exchange.open(answer_of(garbage))
    # Opened refusals are encrypted; those before are not signed either.
    status, text = (949, b'{"code":432,"message":"432 No Permission"}') if dialect == "fo" else (600, b'{"code":600}')
    refused = signed(dialect, received(sent), Reply(status, [], seal(SECRET, text).encode()), encrypted=True, now=NOW)
    with pytest.raises(GatewayError) as caught:
        exchange.open(answer_of(refused))
    assert (caught.value.code, caught.value.verified) == (432 if dialect == "fo" else 600, True)


def test_what_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="verified"):
        Fo(ACCESS_KEY, SECRET, seal=True, verify=False)
    with pytest.raises(ValueError, match="needed"):
        Fo(ACCESS_KEY, "")
    sealing = dialect_of("fo", seal=True)
    for target in ("/", "/a", "/a/", "//x"):
        with pytest.raises(SigningError, match="sealed_path"):
            sealing.sign(request_of(target=target))
    assert dialect_of("fo", seal=True, sealed_path="/in/").sign(request_of(target="/a")).request.target == "/in/"
    for name in ("Authorization", "X-API-Key"):
        with pytest.raises(SigningError, match="tokens"):
            sealing.sign(Request("GET", "http", "h", "/a/b/", ((name, "x"),), b""))
    for dialect, name in (
        (dialect_of("fo"), "X-Api-Access-Key"),
        (dialect_of("api"), "X-Fo-App-Id"),
        (HttpSignatures(Secret(ACCESS_KEY, SECRET)), "x-fo-nonce"),
        (HttpSignatures(Secret(ACCESS_KEY, SECRET)), "X-Api-Access-Key"),
    ):
        with pytest.raises(SigningError, match="another dialect"):
            dialect.sign(Request("GET", "http", "h", "/a/b/", ((name, "x"),), b""))
        with pytest.raises(SigningError, match="line end"):
            dialect.sign(
                Request("GET", "http", "h", "/a/b/", (("X-Fo-Extra" if name[2] == "A" else "A", "x\r\ny: z"),), b"")
            )
    # Fields that signing sets are replaced.
    sent = dialect_of("fo").sign(Request("GET", "http", "h", "/a/b/", (("x-fo-signature", "x"), ("X-Fo-Nonce", "n")), b""))
    assert [name for name, _ in sent.request.headers if name.lower() in ("x-fo-signature", "x-fo-nonce")] == [
        "X-Fo-Nonce",
        "X-Fo-Signature",
    ]


@given(
    dialect=st.sampled_from(["fo", "api", "http"]),
    status=st.sampled_from([200, 204, 304, 401, 503, 600, 949]),
    names=st.lists(
        st.sampled_from(
            ["X-Fo-Signature", "X-Fo-Timestamp", "X-Api-Signature", "X-Api-Timestamp", "Signature", "Signature-Input",
             "Content-Digest", "Content-Type", "X-Fo-Encrypt-Type", "Retry-After", "X-Request-Id"]
        ),
        max_size=6,
    ),
    values=st.lists(
        st.one_of(
            st.text(st.characters(max_codepoint=255), max_size=20),
            st.sampled_from(
                ["portcullis=()", "portcullis=:AAAA:", 'portcullis=("@status");created=1', "application/problem+json",
                 'portcullis=("@query-param";name="a";req "signature";req;key="sig1" "x";sf "@authority");keyid="shop-7Qm2"']
            ),
        ),
        min_size=6,
        max_size=6,
    ),
    body=st.one_of(st.binary(max_size=20), st.sampled_from([b"[]", b'{"code":[]}', b'{"code":1e999,"message":{}}'])),
)  # fmt: skip
def test_whatever_comes_is_no_good_answer(
    dialect: str, status: int, names: list[str], values: list[str], body: bytes
) -> None:
    one: Any = http() if dialect == "http" else dialect_of(dialect)
    answer = Answer(status, tuple(zip(names, values, strict=False)), body)
    with pytest.raises(PortcullisError):
        one.sign(request_of()).open(answer)


@given(plain=st.binary(max_size=100), block=st.sampled_from([16, 32]), secret=st.text(min_size=1, max_size=20))
def test_what_is_sealed_is_opened(plain: bytes, block: int, secret: str) -> None:
    text = seal(secret, plain, block=block)
    assert unseal(secret, text) == plain
    assert (len(base64.b64decode(text)) - 16) % block == 0
    assert text != seal(secret, plain, block=block)


def test_secrets_are_not_shown() -> None:
    token = "the token of a user"
    shown = []
    for dialect in (dialect_of("fo"), dialect_of("api"), HttpSignatures(Secret(ACCESS_KEY, SECRET))):
        exchange = dialect.sign(request_of(), token)
        shown += [repr(dialect), str(dialect), repr(exchange), repr(exchange.request)]
    assert not any(secret in text for text in shown for secret in (SECRET, token))


def http_answer(request: Request, **change: Any) -> Answer:
    """An answer as the gateway signs it in the dialect `http`."""
    items: list[Item] = [
        Item("@status"),
        Item("content-digest"),
        Item("content-type"),
        Item("@method", {"req": True}),
        Item("@target-uri", {"req": True}),
        Item("signature", {"req": True, "key": "sig1"}),
    ]
    items = [item for item in items if item.value not in change.get("without", ())]
    parameters = {"created": NOW, "keyid": ACCESS_KEY, "nonce": "n", **change.get("parameters", {})}
    covered = InnerList(tuple(items), {name: value for name, value in parameters.items() if value is not None})
    body = b"tea"
    headers = (("Content-Type", "text/plain"), ("Content-Digest", content_digest(body)))
    answer = Answer(200, headers, body)
    signature = Secret(ACCESS_KEY, change.get("secret", SECRET)).sign(signature_base(covered, answer, request))
    label = change.get("label", "portcullis")
    signed_headers = (
        ("Signature-Input", f"{label}={serialize(covered)}"),
        ("Signature", f"{label}=:{base64.b64encode(signature).decode()}:"),
    )
    return Answer(change.get("status", 200), headers + signed_headers, change.get("body", body))


def http(**settings: Any) -> HttpSignatures:
    return HttpSignatures(Secret(ACCESS_KEY, SECRET), clock=lambda: NOW, **settings)


def test_answers_by_http_signatures() -> None:
    exchange = http().sign(request_of())
    assert exchange.open(http_answer(exchange.request)) == b"tea"
    for change in (
        {"status": 201},
        {"body": b"tee"},
        {"secret": "another secret of sixteen bytes"},
        {"label": "sig1"},
        {"parameters": {"keyid": "another"}},
        {"parameters": {"keyid": None}},
        {"parameters": {"created": None}},
        {"parameters": {"created": NOW - 361}},
        {"parameters": {"created": NOW + 61}},
        {"parameters": {"expires": NOW - 61}},
        {"parameters": {"alg": "ed25519"}},
        {"without": ["@status"]},
        {"without": ["content-digest"]},
        {"without": ["content-type"]},
        {"without": ["@method"]},
        {"without": ["@target-uri"]},
        {"without": ["signature"]},
    ):
        with pytest.raises(VerificationError):
            exchange.open(http_answer(exchange.request, **change))
    with pytest.raises(VerificationError, match="does not match"):
        http().sign(request_of()).open(http_answer(exchange.request))
    twice = InnerList((Item("@status"), Item("@status")))
    with pytest.raises(VerificationError, match="twice"):
        signature_base(twice, Answer(200, (), b""))
    with pytest.raises(VerificationError, match="not signed"):
        exchange.open(Answer(502, (("Content-Type", "text/html"),), b"from a proxy"))
    with pytest.raises(VerificationError, match="not signed"):
        exchange.open(Answer(404, (("Content-Type", "application/problem+json"),), b'{"title":"of a service"}'))
    problem = b'{"type":"urn:x","title":"t","status":401,"detail":"no","code":"invalid_credential","request_id":"r"}'
    with pytest.raises(GatewayError) as caught:
        exchange.open(Answer(401, (("Content-Type", "application/problem+json"),), problem))
    assert (caught.value.code, caught.value.request_id, caught.value.verified) == ("invalid_credential", "r", False)


def test_what_http_signatures_cover() -> None:
    dialect = http(covered=["X-Tenant"], tag="orders", public_url="https://api.example.com")
    request = Request("post", "http", "10.0.0.1:80", "/a?b", (("Content-Type", "text/plain"), ("X-Tenant", "acme")), b"x")
    sent = dialect.sign(request, "token").request
    fields = {name.lower(): value for name, value in sent.headers}
    covered = parse_dictionary(fields["signature-input"])["sig1"]
    assert isinstance(covered, InnerList)
    names = [item.value for item in covered.items]
    assert names == ["@method", "@target-uri", "content-digest", "content-type", "authorization", "x-tenant"]
    assert set(covered.parameters) == {"created", "keyid", "nonce", "tag"}
    assert fields["authorization"] == "Bearer token"
    seen = Request("POST", "https", "api.example.com", "/a?b", sent.headers, b"x")
    given = parse_dictionary(fields["signature"])["sig1"]
    assert isinstance(given, Item)
    assert isinstance(given.value, bytes)
    assert Secret(ACCESS_KEY, SECRET).holds(signature_base(covered, seen), given.value)
    with pytest.raises(SigningError, match="x-tenant"):
        dialect.sign(Request("GET", "http", "h", "/", (), b""))
    with pytest.raises(ValueError, match="16 bytes"):
        Secret(ACCESS_KEY, "short")
