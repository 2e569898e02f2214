"""The signed internal token: how Runtime knows that a request comes from Experience, and for which tenant."""

import time
from dataclasses import dataclass
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from contracts.errors import ApiError, Code
from contracts.model import TenantId, UserId

AUDIENCE = "stagedoor-runtime"
LIFETIME_S = 60
"""Long enough for a slow hop, short enough that a leaked one is worthless soon (security chapter, I3)."""
_LEEWAY_S = 5  # two hosts' clocks


@dataclass(frozen=True, slots=True)
class InternalCaller:
    """Whom Experience vouches for."""

    tenant_id: TenantId
    user_id: UserId | None
    request_id: str


class InternalSigner:
    """Experience's side; holds the private key."""

    def __init__(self, private_pem: bytes) -> None:
        self._key = load_pem_private_key(private_pem, password=None)

    def token(self, *, tenant_id: TenantId, user_id: UserId | None, request_id: str) -> str:
        """An EdDSA JWT for one call, valid for LIFETIME_S seconds."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + LIFETIME_S,
            "tenant": str(tenant_id),
            "sub": str(user_id) if user_id else "",
            "rid": request_id,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA")  # type: ignore[arg-type]  # an Ed25519 key by deployment


class InternalVerifier:
    """Runtime's side; knows the public key only."""

    def __init__(self, public_pem: bytes) -> None:
        self._key = load_pem_public_key(public_pem)

    def verify(self, token: str) -> InternalCaller:
        """Whom the token vouches for.

        Raises:
            ApiError: UNAUTHENTICATED for anything but a live token of ours.
        """
        try:
            claims = jwt.decode(
                token,
                self._key,  # type: ignore[arg-type]  # an Ed25519 key by deployment
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "aud", "sub"]},
            )
            return InternalCaller(
                tenant_id=TenantId(UUID(claims["tenant"])),
                user_id=UserId(UUID(claims["sub"])) if claims["sub"] else None,
                request_id=str(claims["rid"]),
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ApiError(
                Code.UNAUTHENTICATED,
                "Runtime answers only to Experience's signed internal token.",
                "Call the public address of this installation instead; it forwards to Runtime for you.",
            ) from error
