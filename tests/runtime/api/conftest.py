"""The internal API over the migrated database, and clients that bring a token."""

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from uuid_utils.compat import uuid7

from contracts.model import TenantId, UserId
from contracts.wiring.client import RuntimeClient
from contracts.wiring.internal import InternalSigner
from runtime.app import Ground, create_api, lay_ground
from runtime.settings import Settings
from tests.support.postgres import Database

MakeClient = Callable[[TenantId], RuntimeClient]


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def signer(key: Ed25519PrivateKey) -> InternalSigner:
    return InternalSigner(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture
async def ground(migrated: Database, tmp_path: Path, key: Ed25519PrivateKey) -> AsyncIterator[Ground]:
    pem = tmp_path / "internal.pem"
    pem.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    seals = tmp_path / "seal.keys"
    seals.write_bytes(base64.b64encode(b"s" * 32))
    settings = Settings(
        database_url=migrated.dsn("runtime_app"),
        system_database_url=migrated.dsn("runtime_system"),
        internal_public_key_file=pem,
        seal_key_file=seals,
        artifact_dir=tmp_path / "artifacts",
        scratch_dir=tmp_path / "scratch",
        allowed_hosts=("shop.test",),
    )
    made = lay_ground(settings)
    yield made
    await made.close()


@pytest.fixture
async def http(ground: Ground) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody's client: it brings no token."""
    pem = ground.settings.internal_public_key_file
    assert pem is not None
    transport = httpx.ASGITransport(app=create_api(ground, pem))
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime.test") as client:
        yield client


@pytest.fixture
def make_client(http: httpx.AsyncClient, signer: InternalSigner) -> MakeClient:
    """Experience, speaking for a tenant."""

    def make(tenant_id: TenantId) -> RuntimeClient:
        def headers() -> dict[str, str]:
            token = signer.token(tenant_id=tenant_id, user_id=UserId(uuid7()), request_id="test")
            return {"authorization": f"Bearer {token}"}

        return RuntimeClient(http, headers)

    return make


@pytest.fixture
def client(make_client: MakeClient, tenant_id: TenantId) -> RuntimeClient:
    return make_client(tenant_id)
