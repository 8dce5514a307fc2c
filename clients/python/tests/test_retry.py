"""What is tried again, how often, and after what pause; each time with a signature of its own."""

from __future__ import annotations

import email.utils
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from callers import KINDS, Caller
from hypothesis import given
from hypothesis import strategies as st
from standin import ACCESS_KEY, SECRET, Received, Reply, StandIn, is_well_signed, signed

from portcullis_client import Api, Fo, GatewayError, Plain, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from portcullis_client.retry import Attempts

QUICK = Retry(attempts=3, base=0.001, longest=0.002)
BROKEN = (httpx.TransportError, requests.exceptions.ConnectionError)


class Clock:
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def attempts(method: str = "GET", headers: Any = None, **settings: Any) -> tuple[Attempts, Clock]:
    clock = Clock()
    retry = Retry(clock=clock, time_of_day=lambda: 1_700_000_000.0, random=lambda: 1.0, **settings)
    return retry.begin(method, headers or {}), clock


def test_pauses_grow_and_end() -> None:
    tries, _ = attempts(attempts=6, base=1, longest=5, total=100)
    assert [tries.after_status(503, None) for _ in range(6)] == [1, 2, 4, 5, 5, None]
    tries, clock = attempts(attempts=9, base=1, longest=1, total=2)
    assert tries.after_status(503, None) == 1
    clock.now += 1.5
    assert tries.after_status(503, None) is None


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 6))
def test_jitter_is_full(share: float, made: int) -> None:
    tries = Retry(attempts=9, base=1, longest=4, total=1000, random=lambda: share).begin("GET", {})
    pauses = [tries.after_status(503, None) for _ in range(made)]
    assert pauses[-1] == share * min(2 ** (made - 1), 4)


@pytest.mark.parametrize(
    ("method", "status", "retry_after", "headers", "again"),
    [
        ("GET", 503, None, {}, True),
        ("HEAD", 503, "1", {}, True),
        ("PUT", 429, None, {}, True),
        ("DELETE", 503, None, {}, True),
        ("POST", 503, None, {}, False),
        ("POST", 503, "1", {}, False),
        ("POST", 429, None, {}, False),
        ("POST", 429, "1", {}, True),
        ("PATCH", 429, "0", {}, True),
        ("POST", 503, None, {"idempotency-key": "7"}, True),
        ("GET", 500, None, {}, False),
        ("GET", 502, None, {}, False),
        ("GET", 504, None, {}, False),
        ("GET", 200, "1", {}, False),
        ("POST", 429, "soon", {}, False),
        ("GET", 503, "16", {}, False),
        ("GET", 503, "9" * 400, {}, False),
        ("GET", 503, email.utils.formatdate(1_700_000_005, usegmt=True), {}, True),
        ("GET", 503, email.utils.formatdate(1_600_000_000, usegmt=True), {}, True),
        ("GET", 503, email.utils.formatdate(1_700_000_100, usegmt=True), {}, False),
    ],
)
def test_what_is_tried_again(method: str, status: int, retry_after: str | None, headers: Any, again: bool) -> None:
    tries, _ = attempts(method, headers, base=0.5)
    pause = tries.after_status(status, retry_after)
    assert (pause is not None) is again
    if again and retry_after == "1":
        assert pause == 1.5
    if again and retry_after is not None and "GMT" in retry_after:
        assert pause in (5.5, 0.5)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="attempt"):
        Retry(attempts=0)
    with pytest.raises(ValueError, match="negative"):
        Retry(base=-1)


@pytest.fixture(params=KINDS)
def caller(request: pytest.FixtureRequest) -> Iterator[Callable[..., Caller]]:
    made: list[Caller] = []

    def make(gateway: str, dialect: Any, retry: Retry = QUICK) -> Caller:
        made.append(Caller(str(request.param), gateway, dialect, retry=retry))
        return made[-1]

    yield make
    for one in made:
        one.close()


def failing(stand_in: StandIn, times: int, failure: Callable[[Received], Reply], dialect: str = "fo") -> None:
    """Has the stand-in fail so often, and then answer."""

    def answer(received: Received) -> Reply:
        if len(stand_in.received) <= times:
            return failure(received)
        return signed(dialect, received, Reply(200, [], b"good"))

    stand_in.received.clear()
    stand_in.answer = answer


def test_each_attempt_has_a_signature_of_its_own(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, Fo(ACCESS_KEY, SECRET))
    refusals = [
        lambda _: Reply(949, [], b'{"code":503,"value":null,"message":"503 Endpoint Request Error"}'),
        lambda received: signed("fo", received, Reply(949, [], b'{"code":503}')),
        lambda received: signed("fo", received, Reply(503, [("Retry-After", "0")])),
        lambda _: Reply(breaks=True),
        lambda _: Reply(949, [("Retry-After", "0")], b'{"code":429,"value":null,"message":"429"}'),
    ]
    for refusal in refusals:
        failing(stand_in, 2, refusal)
        assert one.call("PUT", "/a/b/", body=b"x").content == b"good"
        assert len(stand_in.received) == 3
        assert len({received.get("x-fo-nonce") for received in stand_in.received}) == 3
        assert len({received.get("x-fo-signature") for received in stand_in.received}) == 3
        assert all(is_well_signed("fo", received) for received in stand_in.received)
        assert all(received.body == b"x" for received in stand_in.received)
    if one.kind != "asyncio":
        assert len(one.pauses) == 2 * len(refusals)


def test_the_last_failure_is_told(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, Fo(ACCESS_KEY, SECRET))
    failing(stand_in, 9, lambda _: Reply(949, [], b'{"code":503}'))
    with pytest.raises(GatewayError) as caught:
        one.call("GET", "/a/b/")
    assert (caught.value.code, len(stand_in.received)) == (503, 3)
    failing(stand_in, 9, lambda received: signed("fo", received, Reply(503, [], b"busy")))
    assert one.call("GET", "/a/b/").status == 503
    assert len(stand_in.received) == 3
    failing(stand_in, 9, lambda _: Reply(breaks=True))
    with pytest.raises(BROKEN):
        one.call("GET", "/a/b/")
    assert len(stand_in.received) == 3


def test_what_may_have_been_done_is_not_done_again(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, Fo(ACCESS_KEY, SECRET))
    for refusal, error in (
        (lambda _: Reply(949, [], b'{"code":503}'), GatewayError),
        (lambda _: Reply(949, [], b'{"code":431}'), GatewayError),
        (lambda _: Reply(breaks=True), BROKEN),
    ):
        failing(stand_in, 1, refusal)
        with pytest.raises(error):
            one.call("POST", "/a/b/", body=b"x")
        assert len(stand_in.received) == 1
    failing(stand_in, 1, lambda _: Reply(949, [], b'{"code":431,"message":"431 Invalid Signature"}'))
    with pytest.raises(GatewayError):
        one.call("GET", "/a/b/")
    assert len(stand_in.received) == 1


def test_the_dialect_api_says_it_in_words(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, Api(ACCESS_KEY, SECRET))
    failing(stand_in, 1, lambda _: Reply(600, [], b'{"code":600,"msg":"600 Endpoint Request Error"}'), "api")
    assert one.call("GET", "/a/b/").content == b"good"
    failing(stand_in, 1, lambda _: Reply(600, [], b'{"code":600,"msg":"600 No Permission"}'), "api")
    with pytest.raises(GatewayError):
        one.call("GET", "/a/b/")


def test_a_connection_that_was_never_made_is_tried_again(caller: Callable[..., Caller]) -> None:
    with socket.socket() as taken:
        # Bound, and nobody listens.
        taken.bind(("127.0.0.1", 0))
        one = caller(f"http://127.0.0.1:{taken.getsockname()[1]}", Plain())
        with pytest.raises(BROKEN):
            one.call("POST", "/a/b/", body=b"x")
    if one.kind != "asyncio":
        assert len(one.pauses) == 2


def test_a_pause_that_is_too_long_is_not_waited_for(stand_in: StandIn, caller: Callable[..., Caller]) -> None:
    one = caller(stand_in.url, Plain())
    stand_in.answer = lambda _: Reply(503, [("Retry-After", "3600")])
    assert one.call("GET", "/a/b/").status == 503
    assert len(stand_in.received) == 1
    assert one.pauses == []


def test_bodies_that_can_be_read_once_are_sent_once(stand_in: StandIn) -> None:
    from portcullis_client.httpx import RetryTransport

    stand_in.answer = lambda _: Reply(503)
    with httpx.Client(transport=RetryTransport(retry=QUICK)) as client:
        assert client.put(stand_in.url + "/", content=iter([b"x"])).status_code == 503
        assert len(stand_in.received) == 1
        assert client.put(stand_in.url + "/", content=b"x").status_code == 503
        assert len(stand_in.received) == 4
