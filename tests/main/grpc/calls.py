"""Calls of grpcio's client through the gateway: `calls.py NAME ADDRESS [TOKEN KEY | -] [more]`. Fails where one is not as
it must be."""

import os
import queue
import sys
import threading
import time

import grpc

name, address = sys.argv[1:3]
credentials = [("authorization", f"Bearer {sys.argv[3]}"), ("x-api-key", sys.argv[4])] if sys.argv[3:4] > ["-"] else []
more = sys.argv[5:] if credentials else sys.argv[4:]
Code = grpc.StatusCode
options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]

roots = os.environ.get("ROOTS")
if roots:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(open(roots, "rb").read()), options)
else:
    channel = grpc.insecure_channel(address, options)


def method(kind, path):
    return getattr(channel, kind)(path if path.startswith("/") else f"/demo.v1.Echo/{path}")


def unary(path="Unary"):
    return method("unary_unary", path)


def refused(call, code, stable):
    """The call fails with this status, and says by its stable code that it was the gateway."""
    try:
        answer = call()
        answer = list(answer) if hasattr(answer, "__next__") else answer
    except grpc.RpcError as error:
        fields = {}
        for key, value in (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())):
            fields[key] = value
        assert error.code() == code, (error.code(), error.details(), fields)
        assert fields.get("x-portcullis-code") == stable, (error.details(), fields)
        return error, fields
    raise AssertionError(f"it was answered: {answer!r}")


def failed(call):
    try:
        answer = call()
        list(answer) if hasattr(answer, "__next__") else answer
    except grpc.RpcError as error:
        return error
    raise AssertionError("it was answered")


def every_kind():
    answer, call = unary().with_call(b"hello", metadata=[*credentials, ("x-own", "a"), ("x-own-bin", b"\x01\xfe\x00")])
    assert answer == b"hello", answer
    head, trailers = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert head["x-head"] == "yes" and head["x-own"] == "a" and head["x-own-bin"] == b"\x01\xfe\x00", head
    assert len(head["x-request-id"]) == 32, head
    assert trailers["x-trailer"] == "done" and trailers["x-data-bin"] == b"\x00\xff\x10", trailers

    assert unary()(b"", metadata=credentials) == b""
    numbers = list(method("unary_stream", "Stream")(b"1000", metadata=credentials))
    assert numbers == [b"%d" % number for number in range(1000)], numbers[:5]
    assert list(method("unary_stream", "Stream")(b"0", metadata=credentials)) == []
    sizes = (b"x" * (number % 300) for number in range(1000))
    collected = method("stream_unary", "Collect")(sizes, metadata=credentials)
    assert collected == b"1000 %d" % sum(number % 300 for number in range(1000)), collected
    assert method("stream_unary", "Collect")(iter(()), metadata=credentials) == b"0 0"

    big = os.urandom(4 << 20)
    assert unary()(big, metadata=credentials) == big
    compressed = unary("Compressed")(b"a" * 100_000, metadata=credentials, compression=grpc.Compression.Gzip)
    assert compressed == b"a" * 100_000


def errors():
    error = failed(lambda: unary("Fail")(b"", metadata=credentials))
    assert (error.code(), error.details()) == (Code.NOT_FOUND, "kein Weg: ü%"), error
    assert dict(error.trailing_metadata())["x-why"] == "because"
    seen = []
    try:
        for message in method("unary_stream", "FailLate")(b"", metadata=credentials):
            seen.append(message)
    except grpc.RpcError as found:
        error = found
    assert seen == [b"one", b"two"] and error.code() == Code.FAILED_PRECONDITION, (seen, error)
    error = failed(lambda: unary("Nothing")(b"", metadata=credentials))
    assert error.code() == Code.UNIMPLEMENTED and "x-portcullis-code" not in dict(error.trailing_metadata()), error


def lock_step():
    """10,000 messages there and back, each waiting for the one before."""
    sent = queue.Queue()
    answers = method("stream_stream", "Chat")(iter(sent.get, None), metadata=credentials)
    for number in range(10_000):
        sent.put(b"%d" % number)
        assert next(answers) == b"%d" % number
    sent.put(None)
    assert list(answers) == []
    assert answers.code() == Code.OK


def pipelined():
    answers = method("stream_stream", "Chat")((b"%d" % number for number in range(10_000)), metadata=credentials)
    for number, answer in enumerate(answers):
        assert answer == b"%d" % number
    assert number == 9_999 and answers.code() == Code.OK


def refusals():
    error, fields = refused(lambda: unary()(b"x"), Code.UNAUTHENTICATED, "missing_credential")
    assert "access token" in error.details() and fields["www-authenticate"].startswith("Bearer"), (error, fields)
    assert len(fields["x-request-id"]) == 32
    wrong = [("authorization", "Bearer nonsense"), credentials[1]]
    _, fields = refused(lambda: unary()(b"x", metadata=wrong), Code.UNAUTHENTICATED, "invalid_credential")
    assert "invalid_token" in fields["www-authenticate"]
    refused(lambda: unary("/other.v1.Nobody/Get")(b"x", metadata=credentials), Code.UNIMPLEMENTED, "no_route")
    # A stream that is refused while its messages are still being sent.
    refused(lambda: method("stream_unary", "Collect")((b"x" * 1_000 for _ in range(10_000))),
            Code.UNAUTHENTICATED, "missing_credential")
    # The connection has not suffered.
    assert unary()(b"still", metadata=credentials) == b"still"


def limited():
    """The second call is one too many."""
    assert unary()(b"x") == b"x"
    _, fields = refused(lambda: unary()(b"x"), Code.RESOURCE_EXHAUSTED, "too_many_requests")
    pushback = int(fields["grpc-retry-pushback-ms"])
    assert pushback == 1_000 * int(fields["retry-after"]) and "ratelimit" in fields, fields


def forbidden():
    refused(lambda: unary()(b"x", metadata=credentials), Code.PERMISSION_DENIED, "forbidden")


def unavailable():
    _, fields = refused(lambda: unary()(b"x", metadata=credentials), Code.UNAVAILABLE, "upstream_unreachable")
    assert "127.0.0.1" not in str(fields)


def deadline():
    error = failed(lambda: unary("Wait")(b"", metadata=credentials, timeout=3))
    assert error.code() == Code.DEADLINE_EXCEEDED, error


def cancel():
    call = unary("Wait").future(b"", metadata=credentials)
    input()
    call.cancel()
    watch = method("unary_stream", "Watch")(b"", metadata=credentials)
    assert next(watch) == b"first"
    watch.cancel()


def silence():
    """Silent before the first message, between two, on the caller's side, and where the caller takes nothing."""
    answers = method("unary_stream", "Silent")(more[0].encode(), metadata=credentials)
    assert list(answers) == [b"at last"]
    sent = queue.Queue()
    answers = method("stream_stream", "Chat")(iter(sent.get, None), metadata=credentials)
    for _ in range(2):
        sent.put(b"a")
        assert next(answers) == b"a"
        time.sleep(float(more[0]))
    sent.put(None)
    assert list(answers) == []
    # More than waits anywhere on the way.
    flood = method("unary_stream", "Flood")(b"64", metadata=credentials)
    assert len(next(flood)) == 1 << 20
    time.sleep(float(more[0]))
    assert sum(len(message) for message in flood) == 63 << 20


def watch_until(code, stable):
    """Watches until the gateway ends it."""
    watch = method("unary_stream", "Watch")(b"", metadata=credentials)
    assert next(watch) == b"first"
    print("watching", flush=True)
    refused(lambda: watch, code, stable)


def revoked():
    watch_until(Code.UNAUTHENTICATED, "revoked")


def revoked_upload():
    """Is sent away before there is anything of an answer."""
    sent = queue.Queue()
    sent.put(b"first")
    answer = method("stream_unary", "Upload").future(iter(sent.get, None), metadata=credentials)
    refused(lambda: answer.result(timeout=30), Code.UNAUTHENTICATED, "revoked")
    sent.put(None)


def broken():
    watch_until(Code.UNAVAILABLE, "upstream_broken")


def messages():
    """Each message may have 1,000 bytes, and all of them together as many as they like."""
    total = method("stream_unary", "Collect")((b"x" * 1_000 for _ in range(200)), metadata=credentials)
    assert total == b"200 200000", total
    refused(lambda: unary()(b"x" * 1_001, metadata=credentials), Code.RESOURCE_EXHAUSTED, "body_too_large")
    sent = queue.Queue()
    answers = method("stream_stream", "Chat")(iter(sent.get, None), metadata=credentials)
    sent.put(b"short")
    assert next(answers) == b"short"
    sent.put(b"x" * 1_001)
    refused(lambda: answers, Code.RESOURCE_EXHAUSTED, "body_too_large")


def load():
    """Calls over two gateways from many threads, until a line comes in. None may fail."""
    global channel
    # A list of addresses is no authority.
    options.extend([("grpc.lb_policy_name", "round_robin"), ("grpc.default_authority", "orders.test")])
    channel = grpc.insecure_channel(f"ipv4:{address},{more[0]}", options)
    done, count, wrong = threading.Event(), [0] * 8, []

    def work(place):
        while not done.is_set():
            try:
                assert unary()(b"x" * 100, metadata=credentials) == b"x" * 100
                assert len(list(method("unary_stream", "Stream")(b"5", metadata=credentials))) == 5
                count[place] += 2
            except Exception as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(count))]
    for thread in threads:
        thread.start()
    while sum(count) < 200 and not wrong:
        time.sleep(0.01)
    print("running", flush=True)
    input()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    print(sum(count))


globals()[name]()
