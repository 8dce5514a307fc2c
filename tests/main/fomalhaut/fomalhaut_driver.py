"""A client of fomalhaut in its two dialects, `fo` and `api`, over bare sockets.

It was written from the description of the protocols and shares no line with the gateway, nor with fomalhaut's own code. It
builds requests byte by byte, reads answers byte by byte, and verifies these as fomalhaut's own clients do."""

import base64
import hashlib
import hmac
import json
import os
import random
import socket
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PATIENCE = 20

DIALECTS = {
    "fo": {
        "signed_request": "x-fo",
        "signed_answer": "x-fo",
        "client": "X-Fo-App-Id",
        "timestamp": "X-Fo-Timestamp",
        "nonce": "X-Fo-Nonce",
        "signature": "X-Fo-Signature",
        "encrypt_type": "X-Fo-Encrypt-Type",
        "encrypted_headers": "X-Fo-Encrypted-Headers",
        "encrypted_uri": "X-Fo-Encrypted-Uri",
        "access_token": "X-Fo-Access-Token",
        "asks": ("X-Fo-Sign-Response", "1"),
        "block": 16,
        "window": 600,
        "error": 949,
    },
    "api": {
        "signed_request": "x-api-",
        "signed_answer": "x-api",
        "client": "X-Api-Access-Key",
        "timestamp": "X-Api-Timestamp",
        "nonce": "X-Api-Nonce",
        "signature": "X-Api-Signature",
        "encrypt_type": "X-Api-Encrypt-Type",
        "encrypted_headers": "X-Api-Encrypted-Headers",
        "encrypted_uri": "X-Api-Encrypted-Uri",
        "access_token": "X-Api-Access-Token",
        "asks": ("X-Api-Require-Response-Signature", "true"),
        "block": 32,
        "window": 3600,
        "error": 600,
    },
}


# Signatures.


def canonical(method, target, fields, body):
    """The string that is signed. The lines of fields are sorted as whole lines."""
    joined = {}
    for name, value in fields:
        joined.setdefault(name.strip().lower(), []).append(value.strip())
    lines = sorted(f"{name}: {','.join(values)}" for name, values in joined.items())
    return b"\n".join([method.upper().encode(), target.encode(), "\n".join(lines).encode(), body])


def of_request(dialect, method, target, fields, body):
    """The string that is signed of a request: `Host` and the fields of the dialect but for the signature."""
    names = DIALECTS[dialect]
    signature, prefix = names["signature"].lower(), names["signed_request"]
    kept = []
    for name, value in fields:
        low = name.lower()
        if low == "host" or (low.startswith(prefix) and low != signature):
            kept.append((name, value))
    return canonical(method, target, kept, body)


def of_answer(dialect, method, target, fields, body, ignores_case=False):
    """The string that is signed of an answer. The client of `fo` looks for `X-Fo` in just this case; that of `api` ignores
    the case."""
    signature = DIALECTS[dialect]["signature"].lower()
    kept = []
    for name, value in fields:
        if dialect == "fo" and not ignores_case:
            is_meant = name.startswith("X-Fo")
        else:
            is_meant = name.lower().startswith(DIALECTS[dialect]["signed_answer"])
        if is_meant and name.lower() != signature:
            kept.append((name, value))
    return canonical(method, target, kept, body)


def sign(dialect, secret, text, algorithm="sha1"):
    """A signature. `algorithm` is the hash of HMAC in `fo`; `api` has but one."""
    key = secret.encode()
    if dialect == "api":
        mac = hmac.new(key, hashlib.sha1(text).hexdigest().encode(), hashlib.sha256).digest()
        return base64.b64encode(mac).decode()
    return base64.urlsafe_b64encode(hmac.new(key, text, algorithm).digest()).rstrip(b"=").decode()


# Sealed payloads.


def aes(secret, iv):
    return Cipher(algorithms.AES(hashlib.sha256(secret.encode()).digest()), modes.CBC(iv))


def seal(secret, plain, block=16, iv=None):
    """AES-256-CBC with a pad up to a block of 16 or 32 bytes, as Base64 with the IV in front."""
    iv = os.urandom(16) if iv is None else iv
    length = block - len(plain) % block
    encryptor = aes(secret, iv).encryptor()
    sealed = encryptor.update(plain + bytes([length]) * length) + encryptor.finalize()
    return base64.b64encode(iv + sealed).decode()


def unseal(secret, text):
    """The inverse. Fails where the pad is not whole."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) < 32 or len(raw) % 16:
        raise ValueError("no whole blocks")
    decryptor = aes(secret, raw[:16]).decryptor()
    plain = decryptor.update(raw[16:]) + decryptor.finalize()
    length = plain[-1]
    if not 1 <= length <= 32 or length > len(plain) or plain[-length:] != bytes([length]) * length:
        raise ValueError("a bad pad")
    return plain[:-length]


# Requests.


class Request:
    """A request as it will be sent: method, target, fields in order, body."""

    def __init__(self, dialect, method, target, fields, body):
        self.dialect, self.method, self.target, self.fields, self.body = dialect, method, target, fields, body

    def set(self, name, value):
        """Gives a field one value at its place, or takes it away."""
        at = [place for place, (found, _) in enumerate(self.fields) if found.lower() == name.lower()]
        for place in reversed(at):
            del self.fields[place]
        if value is not None:
            self.fields.insert(at[0] if at else len(self.fields), (name, value))

    def get(self, name):
        return next((value for found, value in self.fields if found.lower() == name.lower()), None)

    def text(self):
        return of_request(self.dialect, self.method, self.target, self.fields, self.body)

    def sign(self, secret, algorithm="sha1"):
        names = DIALECTS[self.dialect]
        self.set(names["signature"], None)
        self.fields.append((names["signature"], sign(self.dialect, secret, self.text(), algorithm)))

    def bytes(self):
        lines = [f"{self.method} {self.target} HTTP/1.1"] + [f"{name}: {value}" for name, value in self.fields]
        if (self.body or self.method in ("POST", "PUT")) and self.get("Transfer-Encoding") is None:
            lines.append(f"Content-Length: {len(self.body)}")
        lines += ["Connection: close", "", ""]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body


def plain(dialect, host, method, target, fields, body):
    """What both dialects begin with. Only `api` sends what it accepts."""
    own = [("Host", host)] if dialect == "fo" else [("Host", host), ("Accept", "application/json; charset=utf-8")]
    return Request(dialect, method, target, own + list(fields), body)


def sealed(request, secret, block=None, outer=None):
    """The same request in a sealed one. `Host` goes inside too in `fo`, and does not in `api`."""
    dialect = request.dialect
    names, block = DIALECTS[dialect], block or DIALECTS[dialect]["block"]
    host = request.get("Host")
    inner = [(name, value) for name, value in request.fields if dialect == "fo" or name.lower() != "host"]
    if outer is None:
        endpoint, version = request.target.split("/")[1:3]
        outer = f"/{endpoint}/{version}/?_t={int(time.time())}&_nonce={random.random()}"
    fields = [
        ("Content-Type", "application/octet-stream"),
        ("Host", host),
        (names["encrypted_headers"], seal(secret, json.dumps(dict(inner)).encode(), block)),
        (names["encrypted_uri"], seal(secret, request.target.encode(), block)),
    ]
    body = seal(secret, request.body, block).encode() if request.body else b""
    return Request(dialect, request.method, outer, fields, body)


def identify(request, client, is_sealed=False, asks=True, timestamp=None, nonce=None):
    """Adds the fields that every call has."""
    names = DIALECTS[request.dialect]
    request.fields += [
        (names["timestamp"], str(int(time.time()) if timestamp is None else timestamp)),
        (names["nonce"], str(random.random()) if nonce is None else nonce),
        (names["client"], client),
        (names["encrypt_type"], "aes" if is_sealed else "raw"),
    ]
    if asks:
        request.fields.append(names["asks"])


# Answers.


class Answer:
    """An answer as it was read: status, reason, fields in order, body unchunked."""

    def __init__(self, status, reason, fields, body, ignores_case=False):
        self.status, self.reason, self.fields, self.body = status, reason, fields, body
        # HTTP/2 knows names in lower case only.
        self.ignores_case = ignores_case

    def get(self, name):
        return next((value for found, value in self.fields if found.lower() == name.lower()), None)

    def verify(self, request, secret, algorithm="sha1"):
        """Whether fomalhaut's client takes it: `good`, or what it does not like."""
        names = DIALECTS[request.dialect]
        timestamp, signature = self.get(names["timestamp"]), self.get(names["signature"])
        if signature is None:
            return "not signed"
        if timestamp is None or abs(int(timestamp) - int(time.time())) > names["window"]:
            return f"bad time {timestamp}"
        text = of_answer(request.dialect, request.method, request.target, self.fields, self.body, self.ignores_case)
        return "good" if signature == sign(request.dialect, secret, text, algorithm) else f"bad signature over {text!r}"

    def open(self, dialect, secret):
        """The body, opened where it is sealed."""
        is_sealed = self.get(DIALECTS[dialect]["encrypt_type"]) == "aes"
        return unseal(secret, self.body) if is_sealed and self.body else self.body


def connect(address, source=None):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=PATIENCE, source_address=(source, 0) if source else None)


def read_answer(connection, method):
    """Reads one answer, strictly."""
    stream = connection.makefile("rb")
    line = stream.readline()
    version, status, reason = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    if version != "HTTP/1.1" or not line.endswith(b"\r\n"):
        raise ValueError(f"no answer: {line!r}")
    fields = []
    while (line := stream.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):
            raise ValueError(f"closed in the head: {fields} {line!r}")
        name, value = line[:-2].decode("utf-8", "surrogateescape").split(":", 1)
        fields.append((name, value.strip()))
    answer = Answer(int(status), reason, fields, b"")
    length, coding = answer.get("Content-Length"), answer.get("Transfer-Encoding")
    if method == "HEAD" or answer.status in (204, 304):
        pass
    elif coding is not None:
        answer.body = b"".join(chunks(stream))
    elif length is not None:
        answer.body = stream.read(int(length))
        if len(answer.body) != int(length):
            raise ValueError("closed in the body")
    else:
        answer.body = stream.read()
    if method == "HEAD" or answer.status in (204, 304):
        rest = stream.read()
        if rest:
            raise ValueError(f"bytes behind an answer without a body: {rest!r}")
    return answer


def chunks(stream):
    while size := int(stream.readline().split(b";")[0], 16):
        chunk = stream.read(size + 2)
        if len(chunk) != size + 2 or not chunk.endswith(b"\r\n"):
            raise ValueError("a chunk that is not whole")
        yield chunk[:-2]
    while stream.readline() not in (b"\r\n", b""):
        pass


def send(address, data, method, source=None):
    """Sends bytes over a connection of their own and reads the answer."""
    with connect(address, source) as connection:
        connection.sendall(data)
        return read_answer(connection, method)
