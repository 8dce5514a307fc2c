"""A gRPC service as grpcio makes one, without generated code: messages are bytes.

Prints its port, and then what it notices, line by line.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

lock = threading.Lock()


def say(*words):
    with lock:
        print(*words, flush=True)


def mirror(context):
    """What the caller has sent goes back in the head and in the trailers."""
    sent = {key: value for key, value in context.invocation_metadata()}
    head = [(key, value) for key, value in sent.items() if key.startswith("x-own")]
    context.send_initial_metadata([("x-head", "yes"), *head])
    context.set_trailing_metadata([("x-trailer", "done"), ("x-data-bin", b"\x00\xff\x10")])
    return sent


def unary(request, context):
    sent = mirror(context)
    say("unary", sent.get("x-user-json", "-"), sent.get("authorization", "-"), sent.get("x-app-id", "-"))
    return request


def unary_compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def flood(request, context):
    for _ in range(int(request)):
        yield b"x" * (1 << 20)


def client_stream(requests, context):
    count = total = 0
    for message in requests:
        count, total = count + 1, total + len(message)
    return b"%d %d" % (count, total)


def upload(requests, context):
    """Answers at the end; tells what comes, and that the caller has gone."""
    context.add_callback(lambda: say("unloaded"))
    for message in requests:
        say("uploaded", message.decode())
    return b"all of it"


def chat(requests, context):
    for message in requests:
        yield message


def fail(request, context):
    context.set_trailing_metadata([("x-why", "because")])
    context.abort(grpc.StatusCode.NOT_FOUND, "kein Weg: ü%")


def fail_late(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "after two")


def wait(request, context):
    """Never answers; tells how long the caller waits, and that it has gone."""
    gone = threading.Event()
    context.add_callback(gone.set)
    left = context.time_remaining()
    say("waits", "for ever" if left is None or left > 1e6 else f"{left:.3f}")
    gone.wait(60)
    say("gone", context.is_active())
    return b""


def watch(request, context):
    """Sends one message, and nothing more until the caller goes."""
    gone = threading.Event()

    def go():
        # Here, because whoever is called off while it sends is not asked for more.
        say("unwatched")
        gone.set()

    context.add_callback(go)
    yield b"first"
    gone.wait(60)


def silent(request, context):
    """Says nothing at all for some time, and then one thing."""
    time.sleep(float(request))
    yield b"at last"


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Compressed": grpc.unary_unary_rpc_method_handler(unary_compressed),
    "Stream": grpc.unary_stream_rpc_method_handler(server_stream),
    "Flood": grpc.unary_stream_rpc_method_handler(flood),
    "Collect": grpc.stream_unary_rpc_method_handler(client_stream),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Watch": grpc.unary_stream_rpc_method_handler(watch),
    "Silent": grpc.unary_stream_rpc_method_handler(silent),
}


def main():
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("demo.v1.Echo", METHODS)])
    if len(sys.argv) > 1:
        certificate, key = (open(path, "rb").read() for path in sys.argv[1:3])
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port)
    server.wait_for_termination()


main()
