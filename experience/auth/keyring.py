"""Experience's own signatures: EdDSA JWTs for access tokens and links, with a key list so that keys can be changed."""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_ONE_KEY = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)
_ALGORITHM = "EdDSA"


class Keyring:
    """Private Ed25519 keys, newest first: the first signs, all of them verify, so an old one can retire gently."""

    def __init__(self, pem: bytes) -> None:
        keys = [load_pem_private_key(block, password=None) for block in _ONE_KEY.findall(pem)]
        private = [key for key in keys if isinstance(key, Ed25519PrivateKey)]
        if not private or len(private) != len(keys):
            raise ValueError("the key file must hold Ed25519 private keys in PEM (openssl genpkey -algorithm ed25519)")
        self._private = private[0]
        self._public = {_name(key): key.public_key() for key in private}
        self.current = _name(self._private)

    def sign(self, audience: str, claims: dict[str, Any], *, now: datetime, lifetime: timedelta) -> str:
        """A JWT for one purpose; a token for another audience never verifies in its place."""
        body = {**claims, "aud": audience, "iat": int(now.timestamp()), "exp": int((now + lifetime).timestamp())}
        return jwt.encode(body, self._private, algorithm=_ALGORITHM, headers={"kid": self.current})

    def verify(self, audience: str, token: str, *, now: datetime) -> dict[str, Any] | None:
        """The claims of a live token of ours, or None for anything else."""
        claims = self._read(audience, token)
        # against the clock that is handed in, so that a test can let time pass
        return claims if claims is not None and claims["exp"] > now.timestamp() else None

    def has_expired(self, audience: str, token: str, *, now: datetime) -> bool:
        """Whether it is a token of ours that has lived once."""
        claims = self._read(audience, token)
        return claims is not None and claims["exp"] <= now.timestamp()

    def _read(self, audience: str, token: str) -> dict[str, Any] | None:
        try:
            key = self._public[jwt.get_unverified_header(token)["kid"]]
            options: Any = {"require": ["exp", "iat", "aud"], "verify_exp": False, "verify_iat": False}
            claims: dict[str, Any] = jwt.decode(token, key, algorithms=[_ALGORITHM], audience=audience, options=options)
            claims["exp"] = int(claims["exp"])
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return None
        return claims


def _name(key: Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(hashlib.sha256(public).digest()[:12]).decode()
