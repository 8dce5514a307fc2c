"""Does what it is told to line by line in JSON, with the client in front of it, and answers each line with one."""

import sys
import threading
import traceback


def fields(of):
    return [(name, value) for name, value in of or []]


def b64(data):
    return base64.b64encode(data).decode()


def build(dialect, client, secret, host, method, target, fields=(), body="", algorithm="sha1", asks=True, sealed_call=False,
          block=None, outer=None, seal_with=None, skew=0, timestamp=None, nonce=None, token=None, change=(),
          sealed_body=None, spell=None, after=(), body_after=None, target_after=None, signed=True):
    """A request. `change` is done to the fields before it is signed and `after` behind; both are pairs of a name and a value,
    or none to take the field away."""
    fields = [(name, value) for name, value in fields]
    if token is not None:
        fields.append((DIALECTS[dialect]["access_token"], token))
    request = plain(dialect, host, method, target, fields, base64.b64decode(body))
    if sealed_call:
        request = sealed(request, seal_with or secret, block, outer)
    if sealed_body is not None:
        request.body = base64.b64decode(sealed_body)
    identify(request, client, sealed_call, asks, int(time.time()) + skew if timestamp is None else timestamp, nonce)
    for name, value in change:
        request.set(name, value)
    if spell is not None:
        request.fields = [(getattr(name, spell)(), value) for name, value in request.fields]
    if signed:
        request.sign(secret, algorithm)
    if spell is not None:
        request.fields = [(getattr(name, spell)(), value) for name, value in request.fields]
    for name, value in after:
        request.set(name, value)
    if body_after is not None:
        request.body = base64.b64decode(body_after)
    request.target = target_after or request.target
    return request


def shown(answer, request, secret, algorithm, seal_with):
    """An answer for the test."""
    try:
        opened = b64(answer.open(request.dialect, seal_with or secret))
    except ValueError as error:
        opened = None
    return {
        "status": answer.status,
        "reason": answer.reason,
        "fields": answer.fields,
        "body": b64(answer.body),
        "opened": opened,
        "verified": answer.verify(request, secret, algorithm),
        "request": {"method": request.method, "target": request.target, "fields": request.fields, "body": b64(request.body)},
    }


def call(address, source=None, http=1, **wanted):
    """Makes a call."""
    request = build(**wanted)
    send_it = send if http == 1 else send_http2
    answer = send_it(address, request.bytes() if http == 1 else request, request.method, source)
    return shown(answer, request, wanted["secret"], wanted.get("algorithm", "sha1"), wanted.get("seal_with"))


def written(**wanted):
    """A request that is not sent yet."""
    request = build(**wanted)
    return {"bytes": b64(request.bytes()), "text": b64(request.text())}


def raw(address, data, method="GET", source=None):
    """Sends bytes as they are."""
    answer = send(address, base64.b64decode(data), method, source)
    return {"status": answer.status, "reason": answer.reason, "fields": answer.fields, "body": b64(answer.body)}


def race(address, data, method="GET", callers=2):
    """Sends the same bytes over several connections, whose last byte goes out at the same instant. Says the codes."""
    data = base64.b64decode(data)
    barrier, codes, failed = threading.Barrier(callers), [], []

    def caller():
        try:
            with connect(address) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(data[:-1])
                barrier.wait(PATIENCE)
                connection.sendall(data[-1:])
                answer = read_answer(connection, method)
                codes.append((answer.status, b64(answer.body)))
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise ValueError(failed)
    return {"answers": codes}


def volley(address, data, method="POST", kill=None, after=0):
    """Sends requests over a connection each, whose last byte goes out at the same instant. Says what came back. With `kill`,
    the process with this id is killed so many milliseconds later, and some may get no answer."""
    barrier, answers, failed = threading.Barrier(len(data) + 1), [], []

    def caller(request):
        try:
            with connect(address) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(request[:-1])
                barrier.wait(PATIENCE)
                connection.sendall(request[-1:])
                answer = read_answer(connection, method)
                answers.append((answer.status, b64(answer.body)))
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=caller, args=(base64.b64decode(request),)) for request in data]
    for thread in threads:
        thread.start()
    barrier.wait(PATIENCE)
    if kill is not None:
        time.sleep(after / 1000)
        os.kill(kill, 9)
    for thread in threads:
        thread.join()
    if failed and kill is None:
        raise ValueError(failed)
    return {"answers": answers}


def sealing(secret, text, block=16):
    return {"text": seal(secret, base64.b64decode(text), block)}


def opening(secret, text):
    try:
        return {"plain": b64(unseal(secret, text))}
    except ValueError as error:
        return {"plain": None, "why": str(error)}


def vectors(path):
    """Holds the client against the vectors that were made with fomalhaut's own code."""
    with open(path, encoding="utf-8") as file:
        known = json.load(file)
    for case in known["aes"]:
        text = base64.b64decode(case["plaintext_b64"])
        block = DIALECTS[case["dialect"]]["block"]
        assert seal(case["secret_key"], text, block, bytes.fromhex(case["iv_hex"])) == case["ciphertext_b64"], case
        assert unseal(case["secret_key"], case["ciphertext_b64"]) == text, case
    for case in known["requests"]:
        body = base64.b64decode(case["body_b64"])
        pairs = list({"Host": case["host"], **case["headers"]}.items())
        text = of_request(case["dialect"], case["method"], case["request_uri"], pairs, body)
        assert text == base64.b64decode(case["string_to_sign_b64"]), (case, text)
        assert sign(case["dialect"], case["secret_key"], text) == case["signature"], case
    for case in known["responses"]:
        text = of_answer(case["dialect"], case["request_method"], case["request_uri"], list(case["headers"].items()),
                         base64.b64decode(case["body_b64"]))
        assert text == base64.b64decode(case["string_to_sign_b64"]), (case, text)
        assert sign(case["dialect"], case["secret_key"], text) == case["signature"], case
    return {"checked": [len(known[part]) for part in ("aes", "requests", "responses")]}


COMMANDS = {"call": call, "written": written, "raw": raw, "race": race, "volley": volley, "sealing": sealing, "opening": opening, "vectors": vectors}
for line in sys.stdin:
    wanted = json.loads(line)
    try:
        said = COMMANDS[wanted.pop("do")](**wanted)
    except Exception:
        said = {"failed": traceback.format_exc()}
    print(json.dumps(said), flush=True)
