"""Stands in front of pebble, which knows nothing of renewal information (RFC 9773), and answers for that: a directory that
names the resource, windows that are near for the first certificate asked about and far away for all others, and orders
that say what they replace. Everything else goes on to pebble as it came.

Arguments: pebble's directory, the roots it is proved by, the certificate and the key to serve with. Prints its own
directory, and then a line for each thing it is asked."""

import base64
import http.server
import json
import ssl
import sys
import time
import urllib.request

directory, roots, certificate, key = sys.argv[1:]
pebble = directory.removesuffix("/dir")
trusting = ssl.create_default_context(cafile=roots)
first = []


def window(identifier):
    if not first:
        first.append(identifier)
    if identifier == first[0]:
        soon = time.time() + 8
        return {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(soon)) for name in ("start", "end")}
    return {"start": "2090-01-01T00:00:00Z", "end": "2090-01-02T00:00:00Z"}


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "date", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pass_on(self):
        length = int(self.headers.get("Content-Length", 0))
        sent = self.rfile.read(length) if length else None
        if self.path.startswith("/renewal/"):
            identifier = self.path.removeprefix("/renewal/")
            print("asked", identifier, flush=True)
            body = json.dumps({"suggestedWindow": window(identifier)}).encode()
            return self.answer(200, [("Content-Type", "application/json"), ("Retry-After", "21600")], body)
        request = urllib.request.Request(pebble + self.path, data=sent, method=self.command)
        # The host stays: pebble names its resources by it, and holds what was signed against it.
        for name in ("Host", "Content-Type", "User-Agent"):
            if name in self.headers:
                request.add_header(name, self.headers[name])
        try:
            answer = urllib.request.urlopen(request, context=trusting)
        except urllib.error.HTTPError as error:
            answer = error
        body = answer.read()
        if self.path == "/dir":
            listed = json.loads(body)
            listed["renewalInfo"] = f"https://{self.headers['Host']}/renewal"
            body = json.dumps(listed).encode()
        replaces = self.replaces(sent)
        if replaces and answer.status == 201:
            print("replaces", replaces, flush=True)
            order = json.loads(body)
            order["replaces"] = replaces
            body = json.dumps(order).encode()
        self.answer(answer.status, answer.headers.items(), body)

    def replaces(self, sent):
        try:
            payload = json.loads(sent)["payload"]
            return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("replaces")
        except (TypeError, ValueError, KeyError, AttributeError):
            return None

    do_GET = do_HEAD = do_POST = pass_on

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
serving.load_cert_chain(certificate, key)
server.socket = serving.wrap_socket(server.socket, server_side=True)
print(f"https://127.0.0.1:{server.server_address[1]}/dir", flush=True)
server.serve_forever()
