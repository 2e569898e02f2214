"""What only NATS brings with it: rung after the commit, remembered within bounds, never waited for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.model import ExecutionId, TenantId
from runtime.store import wakeups_nats
from runtime.store.db import Database as TenantDatabase
from runtime.store.db import DatabaseAway
from runtime.store.events import CHANNEL, wake_readers
from runtime.store.executions import Executions
from runtime.store.queue import PgQueue
from runtime.store.wakeups import CarrierAway, Wakeups
from runtime.store.wakeups_nats import NatsCarrier
from tests.runtime.conftest import Killer
from tests.runtime.made import make_execution
from tests.support.nats import NatsServer, run_nats
from tests.support.postgres import Database
from tests.support.served import listen
from tests.support.wakeups import listening, until_listening


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    with run_nats() as server:
        yield server


class Ears:
    """One carrier that listens, and what it heard."""

    def __init__(self, carrier: NatsCarrier) -> None:
        self.heard: list[UUID] = []
        self._begun = asyncio.Event()
        self._carrier = carrier

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator["Ears"]:
        task = asyncio.create_task(self._carrier.listen(self._begun.set, self.heard.append))
        try:
            async with asyncio.timeout(60):
                await self._begun.wait()
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def until(self, condition: Callable[[list[UUID]], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition(self.heard):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_nothing_is_notified(migrated: Database, nats: NatsServer, queue: PgQueue, tenant_id: TenantId) -> None:
    said: list[object] = []
    carrier = NatsCarrier([nats.url])
    db = TenantDatabase(migrated.dsn("runtime_app"), ring=carrier.ring)
    connection = await asyncpg.connect(migrated.dsn("runtime_app"))
    await connection.add_listener(CHANNEL, lambda *args: said.append(args[-1]))
    new = make_execution()
    executions = Executions(db, queue)
    await executions.submit(tenant_id, new)
    await executions.request_cancel(tenant_id, new.execution_id, "")
    await connection.execute("SELECT pg_notify($1, 'the end')", CHANNEL)  # what came before it came before it
    async with asyncio.timeout(60):
        while "the end" not in said:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert said == ["the end"]
    await connection.close()
    await db.close()


class TestRinging:
    """When a database rings."""

    @pytest.fixture
    async def rung(self) -> list[set[UUID]]:
        return []

    @pytest.fixture
    def door(self, migrated: Database, rung: list[set[UUID]]) -> TenantDatabase:
        return TenantDatabase(migrated.dsn("runtime_app"), ring=lambda ids: rung.append(set(ids)))

    async def test_after_the_commit_and_once(
        self, door: TenantDatabase, rung: list[set[UUID]], tenant_id: TenantId
    ) -> None:
        one, two = uuid4(), uuid4()
        async with door.write(tenant_id) as session:
            for execution_id in (one, two, one):
                await wake_readers(session, execution_id)
            assert rung == []
        assert rung == [{one, two}]
        await door.close()

    async def test_not_where_nothing_was_said(
        self, door: TenantDatabase, rung: list[set[UUID]], tenant_id: TenantId
    ) -> None:
        async with door.write(tenant_id):
            pass
        with pytest.raises(ApiError):
            async with door.write(tenant_id):
                raise ApiError(Code.CONFLICT, "refused before anything was said")
        assert rung == []
        await door.close()

    async def test_also_when_nobody_knows_whether_the_commit_happened(
        self, door: TenantDatabase, rung: list[set[UUID]], tenant_id: TenantId, superuser: Killer
    ) -> None:
        one = uuid4()

        async def write_and_lose_the_connection() -> None:
            async with door.write(tenant_id) as session:
                await wake_readers(session, one)
                await superuser.terminate_backends("runtime_app")

        with pytest.raises(DatabaseAway):
            await write_and_lose_the_connection()
        assert rung == [{one}]
        await door.close()


async def test_what_is_rung_while_it_is_away_is_said_when_it_is_back(nats: NatsServer) -> None:
    nats.kill()
    carrier = NatsCarrier([nats.url])
    ids = [uuid4() for _ in range(3)]
    for _ in range(5):
        carrier.ring(ids)  # of one execution one is kept
    with pytest.raises(CarrierAway):
        await carrier.listen(lambda: None, lambda _: None)
    nats.start()
    async with Ears(NatsCarrier([nats.url])).listen() as ears, Ears(carrier).listen() as mine:
        last = uuid4()
        await ears.until(lambda heard: len(heard) >= 3)
        carrier.ring([last])
        await ears.until(lambda heard: last in heard)
        await mine.until(lambda heard: last in heard)
        assert ears.heard == mine.heard == [*ids, last]


async def test_only_the_newest_are_kept(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups_nats, "CAPACITY", 5)
    carrier = NatsCarrier([nats.url])
    ids = [uuid4() for _ in range(8)]
    for execution_id in ids:
        carrier.ring([execution_id])
    async with Ears(carrier).listen() as ears:
        await ears.until(lambda heard: ids[-1] in heard)
        assert ears.heard == ids[3:]


async def test_more_than_one_batch_goes_out(nats: NatsServer) -> None:
    carrier = NatsCarrier([nats.url])
    ids = [uuid4() for _ in range(2 * wakeups_nats.BATCH + 7)]
    carrier.ring(ids)
    async with Ears(carrier).listen() as ears:
        await ears.until(lambda heard: len(heard) >= len(ids))
        assert ears.heard == ids


async def test_who_leaves_says_what_is_left(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups_nats, "WINDOW_S", 600)
    monkeypatch.setattr(wakeups_nats, "_CLOSE_TIMEOUT_S", 60)
    carrier = NatsCarrier([nats.url])
    first, second = uuid4(), uuid4()
    async with Ears(NatsCarrier([nats.url])).listen() as ears:
        async with Ears(carrier).listen() as mine:
            carrier.ring([first])
            await mine.until(lambda heard: first in heard)
            carrier.ring([second])  # within the window
            await asyncio.sleep(0.05)
            assert second not in ears.heard
        await ears.until(lambda heard: heard == [first, second])


async def test_what_is_no_wake_up_is_passed_over(nats: NatsServer) -> None:
    carrier = NatsCarrier([nats.url])
    async with Ears(carrier).listen() as ears:
        _, writer = await asyncio.open_connection("127.0.0.1", nats.port)
        writer.write(b'CONNECT {"verbose":false}\r\nPUB stagedoor.wake.nonsense 2\r\nhi\r\nPING\r\n')
        await writer.drain()
        one = uuid4()
        carrier.ring([one])
        await ears.until(bool)
        assert ears.heard == [one]
        writer.close()
        await writer.wait_closed()


async def test_a_frozen_server_holds_up_no_writer(
    migrated: Database, nats: NatsServer, queue: PgQueue, tenant_id: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups_nats, "CHECK_S", 0.05)
    monkeypatch.setattr(wakeups_nats, "_CHECK_TIMEOUT_S", 600)
    carrier = NatsCarrier([nats.url])
    db, wakeups = TenantDatabase(migrated.dsn("runtime_app"), ring=carrier.ring), Wakeups(carrier)
    async with listening(wakeups):
        await until_listening(wakeups)
        nats.freeze()
        for _ in range(5):
            await Executions(db, queue).submit(tenant_id, make_execution())
        assert wakeups.listening  # the carrier still waits for its answer, and no writer has waited with it
    await db.close()


async def test_a_frozen_server_is_noticed_and_used_again_when_it_thaws(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups_nats, "CHECK_S", 0.2)
    monkeypatch.setattr(wakeups_nats, "_CHECK_TIMEOUT_S", 1)
    carrier = NatsCarrier([nats.url])
    wakeups = Wakeups(carrier)
    async with listening(wakeups):
        await until_listening(wakeups)
        nats.freeze()
        await until_listening(wakeups, wanted=False)
        nats.thaw()
        await until_listening(wakeups)
        one = ExecutionId(uuid7())
        with wakeups.subscribe(one) as bell:
            carrier.ring([one])
            async with asyncio.timeout(60):
                while not bell._rung.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_a_server_that_takes_nothing_counts_as_away(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups_nats, "CAPACITY", 1_000_000)
    monkeypatch.setattr(wakeups_nats, "BATCH", 100_000)
    carrier = NatsCarrier([nats.url])
    ids = [uuid7() for _ in range(100_000)]
    begun = asyncio.Event()
    task = asyncio.create_task(carrier.listen(begun.set, lambda _: None))
    await begun.wait()
    nats.freeze()
    carrier.ring(ids)
    with pytest.raises(CarrierAway, match="takes nothing"):
        async with asyncio.timeout(60):
            await task


async def test_one_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups_nats, "_CONNECT_TIMEOUT_S", 0.5)
    with listen() as silent:
        silent.listen()
        carrier = NatsCarrier([f"nats://127.0.0.1:{silent.getsockname()[1]}"])
        with pytest.raises(CarrierAway, match="no answer in time"):
            await carrier.listen(lambda: None, lambda _: None)


async def test_a_second_server_of_the_cluster_will_do(nats: NatsServer) -> None:
    carrier = NatsCarrier(["nats://127.0.0.1:1", nats.url])
    one = uuid4()
    async with Ears(carrier).listen() as ears:
        carrier.ring([one])
        await ears.until(lambda heard: heard == [one])


class TestCredentials:
    """A server that asks who is there."""

    @pytest.fixture
    def guarded(self) -> Iterator[NatsServer]:
        with run_nats("--auth", "open-sesame") as server:
            yield server

    async def test_the_token_is_read_from_its_file(self, guarded: NatsServer, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("open-sesame\n")
        async with Ears(NatsCarrier([guarded.url], tmp_path / "token")).listen():
            pass

    async def test_or_stands_in_the_address(self, guarded: NatsServer, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("not this one")
        url = guarded.url.replace("nats://", "nats://open-sesame@")
        async with Ears(NatsCarrier([url], tmp_path / "token")).listen():
            pass

    async def test_user_and_password(self) -> None:
        with run_nats("--user", "stagedoor", "--pass", "secret") as server:
            url = server.url.replace("nats://", "nats://stagedoor:secret@")
            async with Ears(NatsCarrier([url])).listen():
                pass

    async def test_a_wrong_one_is_told_without_saying_it(self, guarded: NatsServer, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("guessed")
        with pytest.raises(CarrierAway, match="Authorization Violation") as caught:
            await NatsCarrier([guarded.url], tmp_path / "token").listen(lambda: None, lambda _: None)
        assert "guessed" not in str(caught.value)

    async def test_a_missing_file_is_told(self, guarded: NatsServer, tmp_path: Path) -> None:
        with pytest.raises(CarrierAway, match="No such file"):
            await NatsCarrier([guarded.url], tmp_path / "nowhere").listen(lambda: None, lambda _: None)


class TestTls:
    """With tls:// nothing is said before the server has shown who it is."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stage")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "key.pem").write_bytes(pem)
        (tmp_path / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
        return tmp_path / "cert.pem"

    @pytest.fixture
    def guarded(self, certificate: Path) -> Iterator[NatsServer]:
        key = certificate.with_name("key.pem")
        with run_nats("--tls", "--tlscert", str(certificate), "--tlskey", str(key), "--auth", "open-sesame") as server:
            yield server

    @staticmethod
    def address(server: NatsServer) -> str:
        return server.url.replace("nats://", "tls://open-sesame@")

    async def test_who_is_known_is_spoken_to(
        self, guarded: NatsServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        one = uuid4()
        carrier = NatsCarrier([self.address(guarded)])
        async with Ears(carrier).listen() as ears:
            carrier.ring([one])
            await ears.until(lambda heard: heard == [one])

    async def test_who_is_not_known_is_not(self, guarded: NatsServer) -> None:
        with pytest.raises(CarrierAway, match="certificate"):
            await NatsCarrier([self.address(guarded)]).listen(lambda: None, lambda _: None)

    async def test_who_offers_none_hears_nothing(self) -> None:
        said: list[bytes] = []

        async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1024,"auth_required":true}\r\n')
            said.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(pretend, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CarrierAway, match="offers no TLS"):
            await NatsCarrier([f"tls://open-sesame@127.0.0.1:{port}"]).listen(lambda: None, lambda _: None)
        async with asyncio.timeout(60):
            while not said:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert set(said) == {b""}
        server.close()
        await server.wait_closed()
