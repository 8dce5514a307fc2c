"""Keys of HTTP message signatures (RFC 9421 section 3.3): which algorithm a key has is fixed by the key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAST_SECRET = 16
_LEAST_RSA = 2048
_P256_BYTES = 32
_MOST_KEYS = 64
_PSS = padding.PSS(padding.MGF1(hashes.SHA512()), hashlib.sha512().digest_size)

_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class SigningKey(Protocol):
    """What signs requests."""

    @property
    def keyid(self) -> str:
        """How the gateway knows it."""

    @property
    def algorithm(self) -> str:
        """Its algorithm by the name of RFC 9421."""

    def sign(self, base: bytes) -> bytes:
        """The signature of a signature base."""


class VerifyingKey(Protocol):
    """What verifies answers."""

    @property
    def algorithm(self) -> str:
        """Its algorithm by the name of RFC 9421."""

    def holds(self, base: bytes, signature: bytes) -> bool:
        """Whether this is the signature of a signature base."""


class Secret:
    """A client's secret: `hmac-sha256`. The gateway signs its answers with the same one."""

    algorithm = "hmac-sha256"

    def __init__(self, access_key: str, secret_key: str | bytes) -> None:
        key = secret_key.encode() if isinstance(secret_key, str) else secret_key
        if len(key) < _LEAST_SECRET:
            raise ValueError(f"a secret for HTTP message signatures has at least {_LEAST_SECRET} bytes")
        self.keyid = access_key
        self._key = key

    def __repr__(self) -> str:
        return f"Secret({self.keyid!r})"

    def sign(self, base: bytes) -> bytes:
        """The signature of a signature base."""
        return hmac.digest(self._key, base, "sha256")

    def holds(self, base: bytes, signature: bytes) -> bool:
        """Whether this is the signature of a signature base, compared in constant time."""
        return hmac.compare_digest(self.sign(base), signature)


class PrivateKey:
    """A client's private key: Ed25519, ECDSA on P-256, or RSA (RSASSA-PSS with SHA-512).

    `keyid` is the client's access key, `/`, and the `id` that the public key has in the client's declaration. The gateway
    signs its answers with a key of its own.
    """

    def __init__(self, keyid: str, key: _Private) -> None:
        self.keyid = keyid
        self.algorithm = _algorithm(key.public_key())
        self._key = key

    @classmethod
    def from_pem(cls, keyid: str, pem: bytes, password: bytes | None = None) -> PrivateKey:
        """Reads a key in PEM. Raises ValueError."""
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(str(error)) from None
        if not isinstance(key, _Private):
            raise ValueError("the key is neither Ed25519, ECDSA on P-256, nor RSA")  # noqa: TRY004 (a wrong file)
        return cls(keyid, key)

    def __repr__(self) -> str:
        return f"PrivateKey({self.keyid!r}, {self.algorithm})"

    def sign(self, base: bytes) -> bytes:
        """The signature of a signature base."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(base)
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(base, _PSS, hashes.SHA512())
        r, s = utils.decode_dss_signature(self._key.sign(base, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


class PublicKey:
    """A public key that verifies answers."""

    def __init__(self, key: _Public) -> None:
        self.algorithm = _algorithm(key)
        self._key = key

    def __repr__(self) -> str:
        return f"PublicKey({self.algorithm})"

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Reads a key in PEM. Raises ValueError."""
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, _Public):
            raise ValueError("the key is neither Ed25519, ECDSA on P-256, nor RSA")  # noqa: TRY004 (a wrong file)
        return cls(key)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> PublicKey:
        """Reads a JWK (RFC 7517): EC on P-256, OKP with Ed25519, or RSA. Raises ValueError."""
        kind, curve = jwk.get("kty"), jwk.get("crv")
        if kind == "EC" and curve == "P-256":
            x, y = (int.from_bytes(_member(jwk, name), "big") for name in "xy")
            return cls(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
        if kind == "OKP" and curve == "Ed25519":
            return cls(ed25519.Ed25519PublicKey.from_public_bytes(_member(jwk, "x")))
        if kind == "RSA":
            e, n = (int.from_bytes(_member(jwk, name), "big") for name in "en")
            return cls(rsa.RSAPublicNumbers(e, n).public_key())
        raise ValueError("a JWK of a kind that is not known here")

    def holds(self, base: bytes, signature: bytes) -> bool:
        """Whether this is the signature of a signature base."""
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, base)
            elif isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, base, _PSS, hashes.SHA512())
            else:
                if len(signature) != 2 * _P256_BYTES:
                    return False
                r, s = (int.from_bytes(part, "big") for part in (signature[:_P256_BYTES], signature[_P256_BYTES:]))
                self._key.verify(utils.encode_dss_signature(r, s), base, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def read_key_set(document: bytes) -> dict[str, VerifyingKey]:
    """The keys of a JWK set by their `kid`; those of an unknown kind are left out. Raises VerificationError."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise VerificationError("the gateway's keys cannot be read") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise VerificationError("the gateway's keys cannot be read")
    keys: dict[str, VerifyingKey] = {}
    for jwk in listed[:_MOST_KEYS]:
        if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str):
            try:
                keys[jwk["kid"]] = PublicKey.from_jwk(jwk)
            except ValueError:
                continue
    return keys


def _algorithm(key: _Public) -> str:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA:
            raise ValueError(f"an RSA key has at least {_LEAST_RSA} bits")
        return "rsa-pss-sha512"
    if key.curve.name != "secp256r1":
        raise ValueError("an ECDSA key is on the curve P-256")
    return "ecdsa-p256-sha256"


def _member(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"a JWK without '{name}'")  # noqa: TRY004 (a wrong document)
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError(f"a JWK whose '{name}' is not Base64url") from None
