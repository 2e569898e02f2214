"""An Experience that serves streams and nothing else, over the real hub and the real channel to a Runtime."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from contracts.api.public import PublicApi
from contracts.declare import Channel
from contracts.errors import ApiError, Code
from contracts.execution import Execution, ReadExecution
from contracts.identity import Role, Scope
from contracts.model import ExecutionId, TenantId, UserId
from contracts.wiring.channel import Channels, Opening
from contracts.wiring.server import build_app
from contracts.wiring.subscriber import Subscriber
from experience.auth.principal import Principal
from experience.realtime.hub import Hub
from experience.realtime.socket import Doors, Streams
from tests.support.eventlog import KEYS, RuntimeClients, execution
from tests.support.sockets import Served, serve

ORIGIN = "https://stagedoor.example"
TENANT = TenantId(UUID(int=1))


class StreamApi:
    """The part of PublicApi that is served here."""

    execution_stream = PublicApi.execution_stream
    guide_stream = PublicApi.guide_stream


@dataclass
class Front:
    """A running Experience replica."""

    served: Served
    streams: Streams
    subscriber: Subscriber
    accepted: set[ExecutionId]
    principals: dict[str, Principal]
    """By token; `me` is there from the start."""
    revoked: set[str] = field(default_factory=set)

    def stream(self, execution_id: ExecutionId, query: str = "") -> str:
        """Address of a native stream."""
        return self.served.ws(f"/api/execution/{execution_id}/stream?token=me{query}")

    def guide(self, execution_id: ExecutionId) -> str:
        """Address of the API guide's stream."""
        return self.served.ws(f"/api/ws/executions/{execution_id}?token=me")


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


@asynccontextmanager
async def front(
    runtime: Served,
    *,
    ping_interval_s: float = 30.0,
    read_snapshot: Callable[[TenantId, ExecutionId], Execution] | None = None,
    check_s: float = 60.0,
    renew: Callable[[Principal], Principal] | None = None,
    **settings: Any,
) -> AsyncIterator[Front]:
    """Run a replica in front of `runtime`."""
    people = {"me": principal()}
    accepted: set[ExecutionId] = set()
    revoked: set[str] = set()

    async def let_in(opening: Opening, channel: Channel[Any, Any, Any]) -> Principal:
        if opening.headers.get("origin", ORIGIN) != ORIGIN:
            raise ApiError(Code.CROSS_SITE, "Not our page.")
        known = people.get(opening.token or "")
        if known is None:
            raise ApiError(Code.UNAUTHENTICATED, "Unknown token.")
        return known

    async def ask_again(known: Principal) -> Principal:
        if any(people.get(token) == known for token in revoked):
            raise ApiError(Code.UNAUTHENTICATED, "This credential has been revoked.")
        return renew(known) if renew else replace(known)

    async def is_accepted(tenant_id: TenantId, execution_id: ExecutionId) -> bool:
        return tenant_id == TENANT and execution_id in accepted

    async with httpx.AsyncClient(base_url=runtime.http()) as http, asyncio.TaskGroup() as tasks:
        clients = RuntimeClients(http)

        async def snapshot(tenant_id: TenantId, execution_id: ExecutionId) -> Execution:
            if read_snapshot is not None:
                return read_snapshot(tenant_id, execution_id)
            try:
                return await clients(tenant_id).get_execution(ReadExecution(execution_id=execution_id))
            except ApiError as error:
                if error.code is Code.NOT_FOUND and execution_id in accepted:
                    return execution(execution_id)
                raise

        subscriber = Subscriber(runtime.http(), KEYS.headers, clients, poll_s=0.05)
        hub = Hub(subscriber, clients)
        doors = Doors(is_accepted=is_accepted, read_snapshot=snapshot, renew=ask_again)
        streams = Streams(hub, doors, ping_interval_s=ping_interval_s, check_s=check_s)
        channels: Channels[Principal] = Channels(StreamApi, let_in)
        channels.on(StreamApi.execution_stream, streams.serve_native)
        channels.on(StreamApi.guide_stream, streams.serve_guide)
        running = [tasks.create_task(subscriber.run()), tasks.create_task(streams.run())]
        try:
            async with serve(build_app(channels.routes()), **settings) as served:
                yield Front(served, streams, subscriber, accepted, people, revoked)
        finally:
            for task in running:
                task.cancel()
