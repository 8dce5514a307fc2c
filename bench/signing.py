"""Signed calls: what a client of fomalhaut's dialect `fo` sends, sealed or not, and uploads signed by RFC 9421."""

import base64
import hashlib
import hmac
import json
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPResponse

HOST = "gate.bench"
BODY = b"x" * 1024
# What is put in when a call is sent.
CLIENT, NONCE, STAMP, SIGNATURE = b"{client}", b"{nonce}", b"{stamp}", b"{signature}"


def client_name(number):
    """The name of a client, which is its access key too."""
    return f"c{number:05}"


def secret_of(name):
    """The secret of a client."""
    return f"the secret of {name}"


@dataclass(frozen=True)
class Template:
    """A call as it is sent, and the string that is signed; both with places for what differs from call to call."""

    sent: bytes
    signed: bytes = b""

    def filled(self, client=None, nonce=None, stamp=None):
        """One call as bytes, signed."""
        client = client or client_name(0)
        stamp = int(time.time()) if stamp is None else stamp
        parts = {CLIENT: client.encode(), NONCE: (nonce or os.urandom(8).hex()).encode(), STAMP: str(stamp).encode()}
        text = _filled(self.signed, parts)
        signature = _url_safe(hmac.digest(secret_of(client).encode(), text, "sha1"))
        return _filled(self.sent, {**parts, SIGNATURE: signature})


def _filled(text, parts):
    for place, value in parts.items():
        text = text.replace(place, value)
    return text


def _url_safe(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def with_key(path, key):
    """A POST with an API key."""
    fields = {"Host": HOST, "X-API-Key": key, "Content-Type": "application/octet-stream", "Content-Length": str(len(BODY))}
    return Template(_head(path, fields) + BODY)


def signed(path, body=BODY, kind="raw", more=None):
    """A POST signed in `fo`, whose answer shall be signed too."""
    said = {"x-fo-app-id": CLIENT.decode(), "x-fo-encrypt-type": kind, "x-fo-nonce": NONCE.decode(),
            "x-fo-sign-response": "1", "x-fo-timestamp": STAMP.decode(), **(more or {})}
    lines = sorted(f"{name}: {value}" for name, value in {"host": HOST, **said}.items())
    text = "\n".join(["POST", path, *lines, ""]).encode() + body
    fields = {"Host": HOST, **said, "x-fo-signature": SIGNATURE.decode(), "Content-Type": "application/octet-stream",
              "Content-Length": str(len(body))}
    return Template(_head(path, fields) + body, text)


def sealed(openssl, path):
    """The same with its path, its fields and its body encrypted for the first client."""
    def seal(text):
        return _sealed(openssl, secret_of(client_name(0)), text)

    fields = json.dumps({"Content-Type": "application/octet-stream"})
    inside = {"x-fo-encrypted-uri": seal(path.encode()).decode(), "x-fo-encrypted-headers": seal(fields.encode()).decode()}
    return signed(path, seal(BODY), "aes", inside)


def unsealed(openssl, text):
    """What was encrypted for the first client."""
    text = base64.b64decode(text)
    return _aes(openssl, "-d", secret_of(client_name(0)), text[:16], text[16:])


def _sealed(openssl, secret, text):
    vector = os.urandom(16)
    return base64.b64encode(vector + _aes(openssl, "-e", secret, vector, text))


def _aes(openssl, way, secret, vector, text):
    key = hashlib.sha256(secret.encode()).hexdigest()
    command = [openssl, "enc", way, "-aes-256-cbc", "-K", key, "-iv", vector.hex()]
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout


def _head(path, fields):
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def upload_head(path, length, digest):
    """The head of a POST that the first client has signed by RFC 9421, with its body's digest."""
    content = f"sha-256=:{base64.b64encode(digest).decode()}:"
    covered = {"@method": "POST", "@authority": HOST, "@target-uri": f"http://{HOST}{path}", "content-digest": content}
    names = " ".join(f'"{name}"' for name in covered)
    parameters = f'({names});created={int(time.time())};nonce="{os.urandom(8).hex()}";keyid="{client_name(0)}"'
    text = "".join(f'"{name}": {value}\n' for name, value in covered.items()) + f'"@signature-params": {parameters}'
    mac = hmac.digest(secret_of(client_name(0)).encode(), text.encode(), "sha256")
    fields = {"Host": HOST, "Content-Digest": content, "Signature-Input": f"sig1={parameters}",
              "Signature": f"sig1=:{base64.b64encode(mac).decode()}:", "Content-Length": str(length)}
    return _head(path, fields)


def exchanged(connection, request):
    """Sends a call as bytes and reads the answer: status, fields and body."""
    connection.sendall(request)
    answer = HTTPResponse(connection, method="POST")
    answer.begin()
    return answer.status, dict(answer.getheaders()), answer.read()


def exchanged_once(address, request):
    """The same on a connection of its own; the address is `HOST:PORT`."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return exchanged(connection, request)


def is_signed(path, fields, body, client=None):
    """Whether an answer is signed with the client's secret."""
    said = {name.lower(): value for name, value in fields.items() if name.lower().startswith("x-fo-")}
    signature = said.pop("x-fo-signature", "")
    lines = sorted(f"{name}: {value}" for name, value in said.items())
    text = "\n".join(["POST", path, *lines, ""]).encode() + body
    expected = _url_safe(hmac.digest(secret_of(client or client_name(0)).encode(), text, "sha1")).decode()
    return hmac.compare_digest(signature, expected)
