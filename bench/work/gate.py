"""The work of a gateway: an RS256 token, an API key, a limit, and a line in a log for each call."""

import time

from backend import SMALL
from measure import load
from peers.proxy import Gate
from tokens import AUDIENCE, ISSUER

from .item import CALLS, LATENCIES, Item, WorkNotDone, expect

API_KEY = "bench-key-0123456789abcdef0123456789"
# Never reached by one machine, and the most a limit of Portcullis can be.
HIGH, LOW = 1_000_000, 5
REMEMBERED = 100
# Warming up takes some tokens away from those nobody has seen.
WARM = 1_000

SCRIPT = """
local tokens, written, at, most, again = {}, {}, 0, 0, false
function init(arguments)
  wrk.headers["X-API-Key"] = arguments[4]
  local first, count = tonumber(arguments[2]), tonumber(arguments[3])
  local number = 0
  for token in io.lines(arguments[1]) do
    number = number + 1
    if number > first + count then break end
    if number > first then tokens[#tokens + 1] = "Bearer " .. token end
  end
  most = #tokens
  again = arguments[5] == "again"
end
function request()
  if at == most then
    if not again then wrk.thread:stop() end
    at = 0
  end
  at = at + 1
  if written[at] then return written[at] end
  wrk.headers["Authorization"] = tokens[at]
  local text = wrk.format()
  if again then written[at] = text end
  return text
end
"""


def _gate(setting, per_second):
    issuer = setting.issuer
    return Gate(issuer.public_pem, issuer.jwks, ISSUER, AUDIENCE, API_KEY, per_second)


def _headers(token, key=API_KEY):
    return {"Authorization": f"Bearer {token}", "X-API-Key": key}


def _lines(proxy, wanted, most):
    """Waits until the log has as many lines as there were calls; then it must stay at that."""
    until = time.monotonic() + 20
    while True:
        with open(proxy.access_log(), "rb") as file:
            count = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        if count >= wanted or time.monotonic() > until:
            break
        time.sleep(0.1)
    if not wanted <= count <= most:
        raise WorkNotDone(f"{proxy.name} logged {count} lines of {wanted} to {most} calls")


def _prove(peer, setting):
    """What is good passes, what is not is refused, the limit trips, and each call has its line in the log."""
    issuer = setting.issuer
    good = issuer.token()
    bad = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBB")
    other = issuer.token(iss="https://other.bench.test")
    late = issuer.token(exp=int(time.time()) - 3600)
    abroad = issuer.token(aud="another")
    with peer(setting.tools, setting.plan(gate=_gate(setting, HIGH))) as proxy:
        before = _counted(proxy)
        for _ in range(2):
            expect("a good call", proxy.call("/small", headers=_headers(good)), (200, SMALL))
            for what, token in (("a token that was changed", bad), ("another issuer's", other), ("one that is over", late)):
                expect(what, proxy.call("/small", headers=_headers(token))[0], 401)
            # Whom a token is for is a matter of permission to some.
            abroad_status = proxy.call("/small", headers=_headers(abroad))[0]
            expect("one for another audience", abroad_status in (401, 403), True)
            expect("a wrong API key", proxy.call("/small", headers=_headers(good, "wrong"))[0], 401)
            expect("no token", proxy.call("/small", headers={"X-API-Key": API_KEY})[0], 401)
            expect("no API key", proxy.call("/small", headers={"Authorization": f"Bearer {good}"})[0], 401)
        calls = before + 16
        _lines(proxy, calls, calls)
    with peer(setting.tools, setting.plan(gate=_gate(setting, LOW))) as proxy:
        statuses = [proxy.call("/small", headers=_headers(good))[0] for _ in range(10 * LOW)]
        expect("the limit", (statuses[0], set(statuses) <= {200, 429}, 429 in statuses), (200, True, True))


def _counted(proxy):
    """The calls that are in the log or on their way there before the first of ours: those that waited for its start."""
    # A call of no account, whose line comes after the lines of all before it.
    proxy.call("/small")
    last = -1
    while True:
        with open(proxy.access_log(), "rb") as file:
            count = file.read().count(b"\n")
        if count == last and count:
            return count
        last = count
        time.sleep(1.5)


def _measured(peer, setting, first, count, again):
    with peer(setting.tools, setting.plan(gate=_gate(setting, HIGH))) as proxy:
        file = proxy.own_tokens(1 + REMEMBERED) or setting.issuer.tokens(setting.tokens)
        script = proxy.directory / "tokens.lua"
        script.write_text(SCRIPT)
        with open(file) as lines:
            headers = _headers(next(lines).strip())
        expect("a good call", proxy.call("/small", headers=headers), (200, SMALL))
        before = _counted(proxy)

        def run(first, count, seconds, again):
            arguments = (str(file), str(first), str(count), API_KEY, "again" if again else "once")
            return load.wrk(setting.generator, proxy.url("/small"), seconds, script=str(script), arguments=arguments)

        warm = run(1, WARM if not again else REMEMBERED, 1, again)
        found = setting.measured(proxy, lambda: run(first, count, setting.seconds, again))
        # Calls whose answer nobody waited for when a load ended are logged as well: one a connection at most.
        calls = before + warm.calls + found["calls"]
        _lines(proxy, calls, calls + 2 * 64)
        if again:
            return setting.with_latencies(proxy, found, headers=headers)
        if found["calls"] >= count:
            # They ran out before the time was over, and for the rest of it nobody called.
            found.update(rate=None, busy=None)
        return found


def _remembered(peer, setting):
    return _measured(peer, setting, 1, REMEMBERED, True)


def _new(peer, setting):
    return _measured(peer, setting, 1 + WARM, setting.tokens - WARM - 1, False)


def _fits(peer):
    return peer.gate


def _has_many(peer):
    # A hundred thousand tokens of its own would take a hundred thousand writes to disk.
    return peer.gate and not peer.issues


ITEMS = (
    Item("gate", "RS256 token (one of 100, seen before), API key, limit, JSON log", _remembered, (*CALLS, *LATENCIES),
         fits=_fits, scales=True, prove=_prove, reference="nginx+Lua"),
    Item("gate-new", "The same with tokens that nobody has seen before", _new, fits=_has_many, prove=_prove, reference="nginx+Lua"),
)
