"""Only Experience's live token opens Runtime."""

from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from contracts.errors import ApiError, Code
from contracts.model import TenantId, UserId
from contracts.wiring.internal import AUDIENCE, InternalSigner, InternalVerifier

TENANT = TenantId(UUID(int=1))
USER = UserId(UUID(int=2))


def pair() -> tuple[bytes, bytes]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_token_vouches_for_tenant_user_and_request() -> None:
    private, public = pair()
    caller = InternalVerifier(public).verify(
        InternalSigner(private).token(tenant_id=TENANT, user_id=USER, request_id="r1")
    )
    assert (caller.tenant_id, caller.user_id, caller.request_id) == (TENANT, USER, "r1")


def test_a_guest_has_no_user() -> None:
    private, public = pair()
    token = InternalSigner(private).token(tenant_id=TENANT, user_id=None, request_id="r1")
    assert InternalVerifier(public).verify(token).user_id is None


CLAIMS = {"aud": AUDIENCE, "iat": 0, "exp": 4_000_000_000, "tenant": str(TENANT), "sub": "", "rid": "r"}


@pytest.mark.parametrize(
    "claims",
    [
        CLAIMS | {"exp": 1},
        CLAIMS | {"aud": "somebody-else"},
        CLAIMS | {"tenant": "not-an-id"},
        CLAIMS | {"sub": "not-an-id"},
        {key: value for key, value in CLAIMS.items() if key != "exp"},
        {key: value for key, value in CLAIMS.items() if key != "tenant"},
    ],
)
def test_a_wrong_claim_is_refused(claims: dict[str, object]) -> None:
    private, public = pair()
    with pytest.raises(ApiError) as caught:
        InternalVerifier(public).verify(jwt.encode(claims, private, algorithm="EdDSA"))
    assert caught.value.code is Code.UNAUTHENTICATED


def test_another_key_or_algorithm_is_refused() -> None:
    private, public = pair()
    other, _ = pair()
    for token in (
        jwt.encode(CLAIMS, other, algorithm="EdDSA"),
        jwt.encode(CLAIMS, "x" * 32, algorithm="HS256"),
        jwt.encode(CLAIMS, "", algorithm="none"),
        "garbage",
        "",
    ):
        with pytest.raises(ApiError):
            InternalVerifier(public).verify(token)
    assert InternalVerifier(public).verify(jwt.encode(CLAIMS, private, algorithm="EdDSA")).tenant_id == TENANT
