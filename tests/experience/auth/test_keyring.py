"""Signatures: one purpose each, several keys."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from experience.auth.keyring import Keyring

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_token_is_read_until_it_ends() -> None:
    ring = Keyring(make_pem())
    token = ring.sign("a", {"sub": "x"}, now=NOW, lifetime=MINUTE)
    claims = ring.verify("a", token, now=NOW + MINUTE - timedelta(seconds=1))
    assert claims is not None
    assert claims["sub"] == "x"
    assert ring.verify("a", token, now=NOW + MINUTE) is None
    assert [ring.has_expired("a", token, now=NOW + MINUTE * late) for late in (0, 1)] == [False, True]
    assert not any(
        ring.has_expired(*wrong, now=NOW + MINUTE) for wrong in (("b", token), ("a", f"{token}x"), ("a", "x"))
    )


def test_a_token_for_one_purpose_is_none_for_another() -> None:
    ring = Keyring(make_pem())
    assert ring.verify("b", ring.sign("a", {}, now=NOW, lifetime=MINUTE), now=NOW) is None


def test_an_old_key_verifies_until_it_is_taken_out() -> None:
    old, new = make_pem(), make_pem()
    token = Keyring(old).sign("a", {}, now=NOW, lifetime=MINUTE)
    both = Keyring(new + b"\n" + old)
    assert both.verify("a", token, now=NOW) is not None
    assert both.current == Keyring(new).current
    assert Keyring(new).verify("a", token, now=NOW) is None


def test_forgeries_are_refused() -> None:
    pem = make_pem()
    ring = Keyring(pem)
    token = ring.sign("a", {"sub": "x"}, now=NOW, lifetime=MINUTE)
    head, body, signature = token.split(".")
    claims = {"aud": "a", "iat": 0, "exp": 2**40}
    kid = {"kid": ring.current}
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = [
        "",
        "x",
        "a.b.c",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        jwt.encode(claims, "", algorithm="none", headers=kid),
        jwt.encode(claims, public.hex(), algorithm="HS256", headers=kid),
        jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=kid),
        Keyring(make_pem()).sign("a", {}, now=NOW, lifetime=MINUTE),
        jwt.encode({"aud": "a"}, ring._private, algorithm="EdDSA", headers=kid),  # without an end
    ]
    for token in forged:
        assert ring.verify("a", token, now=NOW) is None, token


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
)
def test_a_file_without_an_ed25519_key_is_refused_with_the_way_out(pem: bytes) -> None:
    with pytest.raises(ValueError, match="openssl genpkey -algorithm ed25519"):
        Keyring(pem)
