"""What callers hear while the server behind the API can't write, as one that is the primary no more."""

import pytest

from contracts.errors import ApiError, Code
from contracts.model import TenantId
from contracts.wiring.client import RuntimeClient
from tests.runtime.api.test_executions import ask
from tests.support.postgres import Database


async def test_a_server_that_can_not_write_is_unavailable_and_no_fault(
    client: RuntimeClient, migrated: Database, tenant_id: TenantId
) -> None:
    with migrated.read_only():
        with pytest.raises(ApiError) as refused:
            await client.submit_execution(ask())
        assert (refused.value.code, refused.value.code.status) == (Code.UNAVAILABLE, 503)
    asked = ask()
    assert (await client.submit_execution(asked)).execution_id == asked.execution_id
