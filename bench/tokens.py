"""An issuer made for the comparison: an RSA key, and as many distinct RS256 tokens as are wanted.

Kept below the target directory with the tools, since signing a hundred thousand takes its time. The key signs nothing else.
"""

import base64
import ctypes
import json
import os
import subprocess
import time

ISSUER, AUDIENCE = "https://issuer.bench.test", "s0"
# Tokens are good for a day; those with less than half of it left are made anew.
LIFE = 86_400


def _text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs, and says what its tokens are verified with."""

    def __init__(self, tools):
        self.directory = tools.directory / "issuer"
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.openssl = tools.openssl
        self.private = self.directory / "key.pem"
        if not self.private.exists():
            self._run("genrsa", "-out", str(self.private), "2048")
            self.private.chmod(0o600)
        self.public_pem = self._run("rsa", "-in", str(self.private), "-pubout")
        modulus = self._run("rsa", "-in", str(self.private), "-noout", "-modulus").strip().split("=")[1]
        key = {"kty": "RSA", "kid": "bench", "alg": "RS256", "use": "sig", "n": _text(bytes.fromhex(modulus)), "e": "AQAB"}
        self.jwks = json.dumps({"keys": [key]})

    def _run(self, *arguments):
        return subprocess.run([self.openssl, *arguments], capture_output=True, text=True, check=True).stdout

    def token(self, number=0, **claims):
        """One token, whose subject goes by the number. Claims that are given replace those it would have."""
        return next(self._signed([number], claims))

    def tokens(self, count):
        """A file with at least so many distinct tokens, one a line."""
        path, note = self.directory / "tokens.txt", self.directory / "tokens.json"
        if path.exists() and note.exists():
            there = json.loads(note.read_text())
            if there["count"] >= count and there["made"] + LIFE / 2 > time.time():
                return path
        print(f"signing {count} tokens", flush=True)
        made = time.time()
        with open(path, "w") as file:
            file.writelines(f"{token}\n" for token in self._signed(range(count), {}))
        note.write_text(json.dumps({"count": count, "made": made}))
        return path

    def _signed(self, numbers, claims):
        sign = _signer(self.private)
        head = _text(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "bench"}).encode())
        now = int(time.time())
        for number in numbers:
            said = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"user-{number}", "iat": now, "exp": now + LIFE,
                    "jti": os.urandom(8).hex(), **claims}
            signed = f"{head}.{_text(json.dumps(said).encode())}"
            yield f"{signed}.{_text(sign(signed.encode()))}"


def _signer(path):
    """A function that signs with a private key in PEM, by way of libcrypto: Python has no RSA of its own."""
    crypto = ctypes.CDLL("libcrypto.so.3")
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("BIO_new_mem_buf", pointer, [ctypes.c_char_p, ctypes.c_int]),
        ("PEM_read_bio_PrivateKey", pointer, [pointer] * 4),
        ("EVP_MD_CTX_new", pointer, []),
        ("EVP_MD_CTX_reset", ctypes.c_int, [pointer]),
        ("EVP_sha256", pointer, []),
        ("EVP_DigestSignInit", ctypes.c_int, [pointer] * 5),
        ("EVP_DigestSign", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.POINTER(size), ctypes.c_char_p, size]),
    ):
        function = getattr(crypto, name)
        function.restype, function.argtypes = result, arguments
    pem = path.read_bytes()
    key = crypto.PEM_read_bio_PrivateKey(crypto.BIO_new_mem_buf(pem, len(pem)), None, None, None)
    context, digest = crypto.EVP_MD_CTX_new(), crypto.EVP_sha256()
    assert key and context, "the issuer's key cannot be read"

    def sign(data):
        room = ctypes.create_string_buffer(512)
        length = size(len(room))
        crypto.EVP_MD_CTX_reset(context)
        assert crypto.EVP_DigestSignInit(context, None, digest, None, key) == 1
        assert crypto.EVP_DigestSign(context, room, ctypes.byref(length), data, len(data)) == 1
        return room.raw[: length.value]

    return sign


def certificate(tools):
    """A certificate for loopback with a key on P-256, the same for all proxies: two paths."""
    directory = tools.directory / "certificate"
    directory.mkdir(mode=0o700, exist_ok=True)
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    if not certificate.exists():
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        command = [tools.openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                   "-subj", "/CN=localhost", "-addext", names, "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, capture_output=True, check=True)
    return str(certificate), str(key)
