"""Encryption of parts of a call in fomalhaut's dialects: AES-256-CBC, always under a signature (encrypt-then-MAC)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .errors import SealError

_BLOCK = 16
_LARGEST_PADDING = 32


def seal(secret_key: str, plain: bytes, *, block: int = _BLOCK, iv: bytes | None = None) -> str:
    """Encrypts: Base64 of a random IV and the ciphertext. `block` is what the padding fills up to: 16 or 32 bytes."""
    iv = secrets.token_bytes(_BLOCK) if iv is None else iv
    length = block - len(plain) % block
    encryptor = _cipher(secret_key, iv).encryptor()
    sealed = encryptor.update(plain + bytes([length]) * length) + encryptor.finalize()
    return base64.b64encode(iv + sealed).decode()


def unseal(secret_key: str, text: bytes | str) -> bytes:
    """Decrypts what `seal` made, of either block. Only for texts whose signature was verified. Raises SealError."""
    try:
        sealed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SealError("the encrypted text is not Base64") from None
    if len(sealed) < 2 * _BLOCK or len(sealed) % _BLOCK:
        raise SealError("the encrypted text has a wrong length")
    decryptor = _cipher(secret_key, sealed[:_BLOCK]).decryptor()
    padded = decryptor.update(sealed[_BLOCK:]) + decryptor.finalize()
    length = padded[-1]
    if not 1 <= length <= min(_LARGEST_PADDING, len(padded)) or padded[-length:] != bytes([length]) * length:
        raise SealError("the padding is wrong")
    return padded[:-length]


def _cipher(secret_key: str, iv: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES256(hashlib.sha256(secret_key.encode()).digest()), modes.CBC(iv))
