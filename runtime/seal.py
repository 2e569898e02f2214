"""Sealing what may lie in the database but must not be readable there: AES-256-GCM under keys that only Runtime has.

A sealed text names its key, so that keys can be changed: the first one seals, all of them open (spec I4). Credentials
lie in envelopes: each version under a data key of its own, which these keys wrap, so that changing a key touches none
of the values.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class SealBroken(Exception):  # noqa: N818 — what is found
    """It was sealed for another place, with a key that is not here, or changed since."""


@dataclass(frozen=True)
class Envelope:
    """Content under a data key of its own, and that key, wrapped."""

    data_key: bytes = field(repr=False)
    content: bytes = field(repr=False)


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

    def reseal(self, sealed: bytes, place: str) -> bytes | None:
        """The same under the first key; None where it is so already. Raises SealBroken."""
        if sealed[:_NAME_BYTES] == self._first:
            return None
        return self.close(self.open(sealed, place), place)

    def fill(self, content: bytes, place: str) -> Envelope:
        """Seal `content` for `place` under a new data key."""
        key, nonce = AESGCM.generate_key(KEY_BYTES * 8), secrets.token_bytes(_NONCE_BYTES)
        body = nonce + AESGCM(key).encrypt(nonce, content, place.encode())
        return Envelope(self.close(key, _key_place(place)), body)

    def empty(self, envelope: Envelope, place: str) -> bytes:
        """What was put into the envelope for `place`. Raises SealBroken."""
        cipher = AESGCM(self.open(envelope.data_key, _key_place(place)))
        try:
            nonce, body = envelope.content[:_NONCE_BYTES], envelope.content[_NONCE_BYTES:]
            return cipher.decrypt(nonce, body, place.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken("it was changed, or sealed for another place") from error

    def rewrap(self, data_key: bytes, place: str) -> bytes | None:
        """An envelope's data key under the first key; None where it is so already. Raises SealBroken."""
        return self.reseal(data_key, _key_place(place))


def _key_place(place: str) -> str:
    return f"data key of {place}"


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
