"""HTTP message signatures and digests are those of RFC 9421 and RFC 9530."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from portcullis_client import Answer, PrivateKey, PublicKey, Request, Secret, VerificationError
from portcullis_client.components import component, digest_matches, signature_base
from portcullis_client.structured import InnerList, Item, parse_dictionary, parse_item


def message(vectors: Any, name: str) -> Request | Answer:
    said = vectors["messages"][name]
    fields = tuple((name, value) for name, value in said["fields"])
    if "status" in said:
        return Answer(said["status"], fields, said["body"].encode())
    others = tuple(pair for pair in fields if pair[0].lower() != "host")
    hosts = [value for name, value in fields if name.lower() == "host"]
    host = hosts[0] if hosts else said["authority"]
    return Request(said["method"], said["scheme"], host, said["target"], others, said["body"].encode())


def key(vectors: Any, name: str) -> Any:
    said = vectors["keys"][name]
    if said["algorithm"] == "hmac-sha256":
        return Secret(name, base64.b64decode(said["secret_base64"]))
    return PublicKey.from_pem(said["public_pem"].encode())


def test_signatures(signatures: Any) -> None:
    checked = 0
    for vector in signatures["signatures"]:
        covered = parse_dictionary(vector["signature_input"])[vector["label"]]
        given = parse_dictionary(vector["signature"])[vector["label"]]
        assert isinstance(covered, InnerList)
        assert isinstance(given, Item)
        assert isinstance(given.value, bytes)
        asked = message(signatures, vector["request"]) if "request" in vector else None
        assert asked is None or isinstance(asked, Request)
        subject = message(signatures, vector["message"])
        base = signature_base(covered, subject, asked)
        if "base" in vector:
            assert base.decode() == "\n".join(vector["base"]), vector["name"]
        verifying = key(signatures, vector["key"])
        assert verifying.holds(base, given.value) is vector["verifies"], vector["name"]
        assert not verifying.holds(base + b" ", given.value)
        assert not verifying.holds(base, given.value[:-1])
        checked += 1
    assert checked == 19


def test_signing_again(signatures: Any) -> None:
    """Keys of every algorithm sign what their public halves verify; without a random part, the very same signature."""
    for name, said in signatures["keys"].items():
        base = b"a signature base"
        signing: Any
        if "private_pem" in said:
            signing = PrivateKey.from_pem(name, said["private_pem"].encode())
        else:
            signing = Secret(name, base64.b64decode(said["secret_base64"]))
        assert signing.algorithm == said["algorithm"]
        assert key(signatures, name).holds(base, signing.sign(base))
        if said["algorithm"] != "hmac-sha256":
            public = {part: said["private_jwk"][part] for part in said["private_jwk"] if part not in ("d", "p", "q")}
            jwk = PublicKey.from_jwk(public)
            assert jwk.algorithm == said["algorithm"]
            assert jwk.holds(base, signing.sign(base))
            assert not jwk.holds(b"another", signing.sign(base))
            # The same number in another spelling.
            signature = signing.sign(base)
            assert not jwk.holds(base, signature[:32] + b"\0" + signature[32:])


def test_components(signatures: Any) -> None:
    left_out = []
    for vector in signatures["components"]:
        item = parse_item(vector["identifier"])
        if "sf" in item.parameters:
            left_out.append(vector["identifier"])
            continue
        subject = message(signatures, vector["message"])
        if vector["value"] is None:
            with pytest.raises(VerificationError):
                component(item, subject)
        else:
            assert component(item, subject) == vector["value"], vector["identifier"]
    # A field in strict form needs to be known as a list, a dictionary or an item: this package covers none.
    assert left_out == ['"example-dict";sf']


def test_digests(signatures: Any) -> None:
    for vector in signatures["digests"]:
        found = digest_matches(vector["content_digest"], vector["content"].encode())
        assert found is vector["matches"], vector["section"]
