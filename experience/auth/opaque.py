"""Opaque secrets: 256 bits of chance, shown once, kept as SHA-256 only.

A plain hash is enough: there is nothing to guess in 256 bits, so salt and slowness would protect nothing.
"""

import base64
import hashlib
import hmac
import secrets
from uuid import UUID

REFRESH = "rt_"
GUEST = "ss_"
INVITATION = "iv_"
LINK = "ln_"
TICKET = "tk_"
KEY = "sd_"
_BYTES = 32


def mint(prefix: str = "") -> str:
    """A new secret; its prefix tells people and secret scanners what it is."""
    return prefix + secrets.token_urlsafe(_BYTES)


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def same(stored: bytes, secret: str) -> bool:
    """Whether this is the secret, in constant time."""
    return hmac.compare_digest(stored, digest(secret))


def mint_salt() -> bytes:
    """The chance in a successor."""
    return secrets.token_bytes(_BYTES)


def succeed(refresh_token: str, salt: bytes) -> str:
    """The refresh token that follows this one.

    Made from the token and a stored salt: whoever lost the answer gets the same successor again, and neither the
    database alone nor the token alone is enough to make it.
    """
    made = hmac.digest(refresh_token.encode(), salt, "sha256")
    return REFRESH + base64.urlsafe_b64encode(made).rstrip(b"=").decode()


def write_key(key_id: UUID, secret: str) -> str:
    """An API key as its owner sees it: `sd_<id>.<secret>`."""
    return f"{KEY}{key_id.hex}.{secret}"


def read_key(text: str) -> tuple[UUID, str] | None:
    """Id and secret of an API key, or None when it can't be one."""
    name, dot, secret = text.removeprefix(KEY).partition(".")
    try:
        return (UUID(hex=name), secret) if dot and secret else None
    except ValueError:
        return None
