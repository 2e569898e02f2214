"""An Experience that serves streams and nothing else, over the real hub and the real channel to a Runtime."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection

from contracts.api.public import PublicApi
from contracts.declare import Channel
from contracts.errors import ApiError, Code
from contracts.execution import Execution, ExecutionStatus, IntentStatus, ReadExecution
from contracts.identity import Role, Scope
from contracts.model import ExecutionId, TenantId, UserId
from contracts.wiring.channel import Channels, Opening
from contracts.wiring.server import build_app
from contracts.wiring.subscriber import Subscriber
from experience.auth.principal import Principal
from experience.realtime.hub import Hub
from experience.realtime.socket import Doors, Streams
from tests.support.eventlog import KEYS, Log, RuntimeClients, Store, completed, execution, serve_runtime, status
from tests.support.sockets import Served, read_frame, serve

ORIGIN = "https://stagedoor.example"
TENANT = TenantId(UUID(int=1))


class StreamApi:
    """The part of PublicApi that is served here."""

    execution_stream = PublicApi.execution_stream
    guide_stream = PublicApi.guide_stream


def principal(tenant_id: TenantId = TENANT, *, ends_in_s: float | None = None) -> Principal:
    ends = None if ends_in_s is None else datetime.fromtimestamp(time.time() + ends_in_s, UTC)
    return Principal(
        tenant_id=tenant_id,
        user_id=UserId(uuid4()),
        role=Role.MEMBER,
        scopes=frozenset({Scope.EXECUTION_READ}),
        via="login",
        credential_id=uuid4(),
        expires_at=ends,
    )


class Rules:
    """What this Experience promises, knows and believes; who says nothing else is `me`."""

    def __init__(self, clients: RuntimeClients, renew: Callable[[Principal], Principal]) -> None:
        self.principals = {"me": principal()}
        self.accepted: set[ExecutionId] = set()
        self.revoked: set[str] = set()
        self.origins: set[str] = set()
        self._clients = clients
        self._renew = renew

    async def let_in(self, opening: Opening, channel: Channel[Any, Any, Any]) -> Principal:
        if opening.headers.get("origin", ORIGIN) not in self.origins | {ORIGIN}:
            raise ApiError(Code.CROSS_SITE, "Not our page.")
        known = self.principals.get(opening.token or "me")
        if known is None:
            raise ApiError(Code.UNAUTHENTICATED, "Unknown token.")
        return known

    async def renew(self, known: Principal) -> Principal:
        if any(self.principals.get(token) == known for token in self.revoked):
            raise ApiError(Code.UNAUTHENTICATED, "This credential has been revoked.")
        return self._renew(known)

    async def find_promise(self, caller: Principal, execution_id: ExecutionId) -> IntentStatus | None:
        accepted = caller.tenant_id == TENANT and execution_id in self.accepted
        return IntentStatus.PENDING if accepted else None

    async def read_snapshot(self, caller: Principal, execution_id: ExecutionId) -> Execution:
        try:
            return await self._clients(caller.tenant_id).get_execution(ReadExecution(execution_id=execution_id))
        except ApiError as error:
            if error.code is Code.NOT_FOUND and execution_id in self.accepted:
                return execution(execution_id)
            raise


@dataclass
class Front:
    """A running Experience replica."""

    served: Served
    streams: Streams
    subscriber: Subscriber
    rules: Rules

    def stream(self, execution_id: ExecutionId, query: str = "") -> str:
        """Address of a native stream."""
        return self.served.ws(f"/api/execution/{execution_id}/stream?{query.removeprefix('&')}")

    def guide(self, execution_id: ExecutionId) -> str:
        """Address of the API guide's stream."""
        return self.served.ws(f"/api/ws/executions/{execution_id}?token=me")


async def show_page(request: Request) -> Response:
    """A page of this origin, for a browser to stand on."""
    return HTMLResponse("<title>page</title>")


@asynccontextmanager
async def front(
    runtime: Served,
    *,
    ping_interval_s: float = 30.0,
    check_s: float = 60.0,
    renew: Callable[[Principal], Principal] = replace,
    **settings: Any,
) -> AsyncIterator[Front]:
    """Run a replica in front of `runtime`."""
    async with httpx.AsyncClient(base_url=runtime.http()) as http, asyncio.TaskGroup() as tasks:
        clients = RuntimeClients(http)
        rules = Rules(clients, renew)
        subscriber = Subscriber(runtime.http(), KEYS.headers, clients, poll_s=0.05)
        doors = Doors(find_promise=rules.find_promise, read_snapshot=rules.read_snapshot, renew=rules.renew)
        streams = Streams(Hub(subscriber, clients), doors, ping_interval_s=ping_interval_s, check_s=check_s)
        channels: Channels[Principal] = Channels(StreamApi, rules.let_in)
        streams.serve(channels)
        running = [tasks.create_task(subscriber.run()), tasks.create_task(streams.run())]
        try:
            async with serve(build_app([*channels.routes(), Route("/", show_page)]), **settings) as served:
                yield Front(served, streams, subscriber, rules)
        finally:
            for task in running:
                task.cancel()


@asynccontextmanager
async def stage(store: Store, **options: Any) -> AsyncIterator[Front]:
    """One Runtime and one Experience."""
    async with serve_runtime(store) as runtime, front(runtime, **options) as running:
        yield running


def finish(store: Store, log: Log) -> None:
    """End an execution well."""
    store.append(log, status(log, ExecutionStatus.COMPLETED), completed(log))


async def read_seqs(client: ClientConnection, until: int) -> list[int]:
    """Read events, one or many a frame, until number `until`."""
    seqs: list[int] = []
    while not seqs or seqs[-1] < until:
        frame = await read_frame(client)
        for event in frame if isinstance(frame, list) else [frame]:
            assert "seq" in event, event
            seqs.append(event["seq"])
    return seqs


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
