"""A release gateway started for one measurement, and a plain client for it. Standard library only."""

import http.client
import json
import os
import subprocess
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Gateway:
    """`portcullis serve` on free ports with a data directory of its own; ends with the block.

    What stands in `before`, like `taskset -c 1`, is put before the command.
    """

    def __init__(self, *flags, before=()):
        target = os.environ.get("CARGO_TARGET_DIR", "target")
        self.binary = os.environ.get("PORTCULLIS_BINARY", f"{target}/release/portcullis")
        self.flags = flags
        self.before = before

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.start()
        return self

    def start(self):
        """Starts it and waits until it answers; `started` is how long that took, in seconds."""
        command = [*self.before, self.binary, "--data-dir", self.directory.name, "--log-level", "warn", "serve",
                   "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *self.flags]
        begin = time.perf_counter()
        # Nothing of the surroundings is a setting of it.
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PORTCULLIS_")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings)
        ready = self.process.stdout.readline()
        calls = ready.split("calls http://")[1].split(",")[0]
        self.calls, _, self.calls_over_tls = calls.partition(" and https://")
        self.admin_address = ready.split("admin http://")[1].strip()
        connection = http.client.HTTPConnection(self.calls)
        connection.request("GET", "/-/ready")
        assert connection.getresponse().status == 200
        self.started = time.perf_counter() - begin
        with open(f"{self.directory.name}/admin.token") as file:
            self.token = file.read().strip()
        self.admin_connection = None

    def stop(self):
        """Stops it gracefully."""
        self.process.terminate()
        self.process.wait(timeout=60)

    def restart(self):
        """Stops it and starts it on the same directory."""
        self.stop()
        self.start()

    def __exit__(self, *_):
        self.stop()
        self.directory.cleanup()

    def admin(self, method, path, body=None):
        """Makes a call on the admin API and returns its JSON."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        for fresh in (False, True):
            try:
                if fresh or not self.admin_connection:
                    self.admin_connection = http.client.HTTPConnection(self.admin_address)
                self.admin_connection.request(method, f"/api/v1{path}", json.dumps(body or {}), headers)
                answer = self.admin_connection.getresponse()
                break
            except (http.client.RemoteDisconnected, ConnectionError):
                # The connection was idle for longer than the gateway keeps one.
                if fresh:
                    raise
        text = answer.read()
        assert answer.status < 300, (method, path, answer.status, text)
        return json.loads(text) if text else None

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one piece, as from any server that is measured.
    wbufsize = -1

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"ok"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class _Backend(ThreadingHTTPServer):
    # As many connections at once as streams that are measured, and some.
    request_queue_size = 1024


def backend():
    """A small backend on loopback; returns its base URL. Ends with the process."""
    server = _Backend(("127.0.0.1", 0), _Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
