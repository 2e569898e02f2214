"""Dead letters over the wire."""

import pytest
from uuid_utils.compat import uuid7

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionRef, Failure, FailureCode
from contracts.model import ExecutionId, TenantId
from contracts.recovery import DiscardDeadLetter, ListDeadLetters
from contracts.wiring.client import RuntimeClient
from runtime.app import Ground
from runtime.store.dead_letters import add_dead_letter
from tests.runtime.api.conftest import MakeClient
from tests.runtime.api.test_executions import ask

FAILURE = Failure(code=FailureCode.WORKER_LOST, message="Gone.", hint="Look.", node_id="click")


async def bury(ground: Ground, client: RuntimeClient, tenant_id: TenantId) -> ExecutionRef:
    asked = ask()
    await client.submit_execution(asked)
    async with ground.db.write(tenant_id) as session:
        await add_dead_letter(session, asked.execution_id, FAILURE, 4, ["click"])
    return ExecutionRef(execution_id=asked.execution_id)


async def test_one_is_listed_read_and_discarded(ground: Ground, client: RuntimeClient, tenant_id: TenantId) -> None:
    ref = await bury(ground, client, tenant_id)
    listed = (await client.list_dead_letters(ListDeadLetters())).items
    assert [(one.execution_id, one.failure, one.losses) for one in listed] == [(ref.execution_id, FAILURE, 4)]
    assert (await client.get_dead_letter(ref)).in_flight == ["click"]
    letter = await client.discard_dead_letter(DiscardDeadLetter(execution_id=ref.execution_id, reason="known"))
    assert (letter.resolution, letter.resolved_by is not None) == ("discarded", True)
    assert (await client.list_dead_letters(ListDeadLetters())).items == []
    assert (await client.list_dead_letters(ListDeadLetters(resolved=True))).items == [letter]


async def test_another_tenants_is_not_found(
    ground: Ground, client: RuntimeClient, make_client: MakeClient, tenant_id: TenantId
) -> None:
    ref = await bury(ground, client, tenant_id)
    stranger = make_client(TenantId(uuid7()))
    discard = DiscardDeadLetter(execution_id=ref.execution_id)
    for asked in (stranger.get_dead_letter(ref), stranger.discard_dead_letter(discard)):
        with pytest.raises(ApiError) as refused:
            await asked
        assert refused.value.code is Code.NOT_FOUND
    assert (await stranger.list_dead_letters(ListDeadLetters())).items == []


async def test_an_execution_that_did_not_die_has_none(client: RuntimeClient) -> None:
    with pytest.raises(ApiError) as refused:
        await client.get_dead_letter(ExecutionRef(execution_id=ExecutionId(uuid7())))
    assert refused.value.code is Code.NOT_FOUND
