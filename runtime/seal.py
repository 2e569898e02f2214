"""Sealing what may lie in the database but must not be readable there: AES-256-GCM under keys that only Runtime has.

A sealed text names its key, so that keys can be changed: the first one seals, all of them open (spec I4).
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class SealBroken(Exception):  # noqa: N818 — what is found
    """It was sealed for another place, with a key that is not here, or changed since."""


class Seal:
    """Seals bytes for one place each.

    Args:
        keys: of 32 bytes; the first one seals.

    Raises:
        ValueError: no key, or one of another length.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"sealing needs keys of {KEY_BYTES} bytes")
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        self._first = _name(keys[0])

    def close(self, content: bytes, place: str) -> bytes:
        """Seal `content` for `place`; sealed, it opens nowhere else."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._first + nonce + self._ciphers[self._first].encrypt(nonce, content, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """What was sealed for `place`. Raises SealBroken."""
        name, rest = sealed[:_NAME_BYTES], sealed[_NAME_BYTES:]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SealBroken("the key it was sealed with is not here")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken("it was changed, or sealed for another place") from error


def read_keys(path: Path) -> Seal:
    """The keys of a file: one a line, base64 of 32 bytes, the one that seals first.

    Raises:
        ValueError: the file holds something else; the message says what to do.
    """
    try:
        keys = [base64.b64decode(line, validate=True) for line in path.read_text().split()]
        return Seal(keys)
    except (binascii.Error, ValueError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} holds no usable keys ({error}): write one a line, such as `openssl rand -base64 32` makes them"
        ) from error


def _name(key: bytes) -> bytes:
    return hashlib.sha256(b"stagedoor seal key" + key).digest()[:_NAME_BYTES]
