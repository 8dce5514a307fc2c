"""Signatures and ciphertexts of the dialects `fo` and `api` are those of the original clients."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from portcullis_client import Answer, Api, Fo, Request, SealError, VerificationError
from portcullis_client.fomalhaut import signature_api, signature_fo, string_to_sign
from portcullis_client.sealing import seal, unseal

PREFIX = {"fo": "x-fo", "api": "x-api-"}
NOW = 1_500_000_000


def signature(dialect: str, secret: str, text: bytes) -> str:
    return signature_fo(secret, text) if dialect == "fo" else signature_api(secret, text)


def test_requests(fomalhaut: Any) -> None:
    checked = 0
    for vector in fomalhaut["requests"]:
        dialect, headers = vector["dialect"], list(vector["headers"].items())
        text = string_to_sign(
            vector["method"],
            vector["request_uri"],
            [pair for pair in headers if pair[0] != "Host"],
            base64.b64decode(vector["body_b64"]),
            prefix=PREFIX[dialect],
            host=vector["host"],
        )
        assert text == base64.b64decode(vector["string_to_sign_b64"]), vector["name"]
        assert signature(dialect, vector["secret_key"], text) == vector["signature"], vector["name"]
        checked += 1
    assert checked == 32


def test_whole_requests(fomalhaut: Any) -> None:
    """The classes make the original clients' requests, field by field."""
    checked = 0
    for vector in fomalhaut["requests"]:
        if vector["encrypt_type"] != "raw" or len(vector["signature"]) == 43:
            continue
        dialect, prefix = vector["dialect"], PREFIX[vector["dialect"]].rstrip("-") + "-"
        plain = {
            name: value
            for name, value in vector["headers"].items()
            if name != "Host" and not name.lower().startswith(prefix)
        }
        token = next((value for name, value in vector["headers"].items() if name.endswith("Access-Token")), None)
        maker: Any = Fo if dialect == "fo" else Api
        sign = maker(vector["access_key"], vector["secret_key"], clock=lambda: NOW, nonce=lambda: "0.123456789").sign
        request = Request(
            vector["method"],
            "http",
            vector["host"],
            vector["request_uri"],
            tuple(plain.items()),
            base64.b64decode(vector["body_b64"]),
        )
        sent = sign(request, token).request
        expected = {"Host": vector["host"], **vector["headers"]}
        assert {**dict(sent.headers), "Host": sent.host} == expected, vector["name"]
        checked += 1
    assert checked > 15


def test_sealed_requests(fomalhaut: Any) -> None:
    """What the original clients encrypt is opened; and encrypting gives their ciphertexts."""
    checked = 0
    for vector in fomalhaut["requests"]:
        if vector["encrypt_type"] != "aes":
            continue
        secret, plain, block = vector["secret_key"], vector["plain"], 16 if vector["dialect"] == "fo" else 32
        headers = {name.lower(): value for name, value in vector["headers"].items()}
        prefix = PREFIX[vector["dialect"]].rstrip("-")
        uri, inner = headers[f"{prefix}-encrypted-uri"], headers[f"{prefix}-encrypted-headers"]
        assert unseal(secret, uri).decode() == plain["uri"]
        assert json.loads(unseal(secret, inner)) == plain["headers"]
        texts = [inner, uri, base64.b64decode(vector["body_b64"]).decode()]
        plains = [plain["headers_json"].encode(), plain["uri"].encode(), base64.b64decode(plain["body_b64"])]
        made = {seal(secret, text, block=block, iv=bytes.fromhex(iv)) for text in plains for iv in vector["ivs_hex"] if text}
        assert {text for text in texts if text} <= made, vector["name"]
        checked += 1
    assert checked > 5


def test_ciphertexts(fomalhaut: Any) -> None:
    for vector in fomalhaut["aes"]:
        secret, plain = vector["secret_key"], base64.b64decode(vector["plaintext_b64"])
        block = 16 if vector["dialect"] == "fo" else 32
        assert seal(secret, plain, block=block, iv=bytes.fromhex(vector["iv_hex"])) == vector["ciphertext_b64"]
        assert unseal(secret, vector["ciphertext_b64"]) == plain
    assert len(fomalhaut["aes"]) == 33


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", base64.b64encode(bytes(16)).decode()])
def test_texts_that_cannot_be_opened(text: str) -> None:
    with pytest.raises(SealError):
        unseal("1234", text)


@pytest.mark.parametrize("padding", ["0f" * 15 + "10", "01" * 15 + "00", "21" * 16, "00" * 15 + "02"])
def test_every_byte_of_the_padding_counts(padding: str) -> None:
    key, iv = hashlib.sha256(b"1234").digest(), bytes(16)
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    text = base64.b64encode(iv + encryptor.update(bytes.fromhex(padding)) + encryptor.finalize())
    with pytest.raises(SealError, match="padding"):
        unseal("1234", text)


def test_answers(fomalhaut: Any) -> None:
    """Answers of the original gateway verify, and those that were changed do not."""
    for vector in fomalhaut["responses"]:
        dialect, secret = vector["dialect"], vector["secret_key"]
        encrypted = "aes" in (vector["headers"].get("X-Fo-Encrypt-Type"), vector["headers"].get("X-Api-Encrypt-Type"))
        maker: Any = Fo if dialect == "fo" else Api
        verifier = maker("abcd", secret, clock=lambda: NOW, bound_answers=False, seal=encrypted)
        asked = Request(vector["request_method"], "http", "127.0.0.1:6500", vector["request_uri"], (), b"")
        exchange = verifier.sign(asked)
        # As if it had been sent to the target of the vector.
        exchange.request = Request(asked.method, "http", asked.host, vector["request_uri"], (), b"")
        headers = dict(vector["headers"])
        headers.setdefault(f"X-{dialect.capitalize()}-Signature", vector["signature"])
        body = base64.b64decode(vector["body_b64"])
        opened = exchange.open(Answer(200, tuple(headers.items()), body))
        assert opened == (unseal(secret, body) if encrypted and body else body), vector["name"]
        for changed in (body + b"x", body[1:], b"x" + body):
            if changed != body:
                with pytest.raises(VerificationError):
                    exchange.open(Answer(200, tuple(headers.items()), changed))
        verifier = maker("abcd", secret, clock=lambda: NOW, seal=encrypted)
        exchange = verifier.sign(asked)
        exchange.request = Request(asked.method, "http", asked.host, vector["request_uri"], (), b"")
        with pytest.raises(VerificationError, match="another call"):
            exchange.open(Answer(200, tuple(headers.items()), body))
    assert len(fomalhaut["responses"]) == 5
