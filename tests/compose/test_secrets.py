"""The secrets that containers are given: made once, whole, for their readers alone."""

import asyncio
import importlib.util
import stat
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

from contracts.model import TenantId
from contracts.wiring.internal import InternalSigner, InternalVerifier
from experience.auth.keyring import Keyring
from experience.cli.ports import find_free_port
from runtime.store.wakeups import CarrierAway
from runtime.store.wakeups_nats import NatsCarrier
from tests.support.nats import run_nats

SCRIPT = Path(__file__).parents[2] / "deploy" / "docker" / "make_secrets.py"
ROLES = {f"{tier}_{part}" for tier in ("experience", "runtime") for part in ("owner", "app", "system")}


@pytest.fixture(scope="module")
def make_secrets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_secrets", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in ("experience", "runtime", "owner", "postgres", "nats"):
        (tmp_path / name).mkdir()
    return tmp_path


def run(make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make_secrets.py", str(volumes)])
    make_secrets.main()


def read_all(volumes: Path) -> dict[str, bytes]:
    return {str(path.relative_to(volumes)): path.read_bytes() for path in volumes.rglob("*") if path.is_file()}


def test_the_tiers_understand_each_other(
    make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_secrets, volumes, monkeypatch)
    tenant = TenantId(uuid4())
    signer = InternalSigner((volumes / "experience" / "internal.pem").read_bytes())
    verifier = InternalVerifier((volumes / "runtime" / "internal.pub.pem").read_bytes())
    token = signer.token(tenant_id=tenant, user_id=None, request_id="r")
    assert verifier.verify(token).tenant_id == tenant
    Keyring((volumes / "experience" / "token.pem").read_bytes())


def test_every_role_gets_the_password_that_its_owner_knows(
    make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_secrets, volumes, monkeypatch)
    statements = (volumes / "postgres" / "passwords.sql").read_text().splitlines()
    lines = [line for name in ("experience", "runtime", "owner") for line in read_pgpass(volumes / name / "pgpass")]
    assert {role for role, _ in lines} == ROLES
    assert len({password for _, password in lines}) == len(ROLES)
    assert sorted(statements) == sorted(f"ALTER ROLE {role} PASSWORD '{password}';" for role, password in lines)


def read_pgpass(path: Path) -> list[tuple[str, str]]:
    found = [line.split(":") for line in path.read_text().splitlines()]
    assert all(len(parts) == 5 for parts in found)
    return [(role, password) for _, _, _, role, password in found]


async def test_nats_takes_its_configuration_and_asks_for_the_token(
    make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_secrets, volumes, monkeypatch)
    configuration = volumes / "nats" / "nats.conf"
    configuration.chmod(0o600)
    told = configuration.read_text().replace("8222", str(find_free_port()))  # the port itself is given on top
    configuration.write_text(told)
    begun = asyncio.Event()
    with run_nats("--config", str(configuration)) as server:
        stranger = NatsCarrier([server.url])
        with pytest.raises(CarrierAway, match="Authorization Violation"):
            await stranger.listen(begun.set, lambda _: None)
        known = NatsCarrier([server.url], volumes / "runtime" / "nats-token")
        listening = asyncio.create_task(known.listen(begun.set, lambda _: None))
        async with asyncio.timeout(60):
            await begun.wait()
        listening.cancel()
        await asyncio.wait({listening})


def test_private_files_are_private(make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(make_secrets, volumes, monkeypatch)
    for name in ("experience", "runtime", "owner", "nats"):
        for path in (volumes / name).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o400, path


def test_a_second_run_changes_nothing(make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(make_secrets, volumes, monkeypatch)
    first = read_all(volumes)
    run(make_secrets, volumes, monkeypatch)
    assert read_all(volumes) == first


def test_only_what_is_missing_is_made(make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(make_secrets, volumes, monkeypatch)
    first = read_all(volumes)
    (volumes / "experience" / "pgpass").unlink()
    run(make_secrets, volumes, monkeypatch)
    changed = {name for name, content in read_all(volumes).items() if first[name] != content}
    assert changed == {"experience/pgpass", "postgres/passwords.sql"}


def test_a_key_of_ones_own_is_kept(make_secrets: ModuleType, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(make_secrets, volumes, monkeypatch)
    own = (volumes / "experience" / "token.pem").read_bytes()
    for path in volumes.rglob("*.p*"):
        path.unlink(missing_ok=True)
    (volumes / "experience" / "internal.pem").write_bytes(own)
    run(make_secrets, volumes, monkeypatch)
    assert (volumes / "experience" / "internal.pem").read_bytes() == own
    signer = InternalSigner(own)
    verifier = InternalVerifier((volumes / "runtime" / "internal.pub.pem").read_bytes())
    tenant = TenantId(uuid4())
    verifier.verify(signer.token(tenant_id=tenant, user_id=None, request_id="r"))
