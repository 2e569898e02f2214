"""What can never run is refused when it is asked for; what was promised already becomes an execution that failed."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from contracts.egress import EgressSettings
from contracts.errors import ApiError, Code
from contracts.execution import SubmitExecution
from contracts.model import ExecutionId, IntentId, TenantId
from runtime.app import NODES
from runtime.catalogue import Catalogue, list_realms
from runtime.egress.lists import Policies
from runtime.egress.policy import Policy, read_exceptions
from runtime.retries import Retries
from runtime.store.egress import EgressRecords
from runtime.store.records import Records
from runtime.store.vault import Credentials
from runtime.store.workflows import Workflows
from runtime.submission import Submissions
from runtime.vault import CredentialCheck

TENANT = TenantId(uuid7())
ID = str(uuid7())


class Denying(EgressRecords):
    """A store in which every tenant denies one host."""

    def __init__(self) -> None:
        pass

    async def get(self, tenant_id: TenantId) -> EgressSettings:
        return EgressSettings(deny=["*.denied.example"], updated_at=None, updated_by=None)


@pytest.fixture
def submissions() -> Submissions:
    types = Catalogue(NODES).types
    retries = Retries(cast("Records", None), cast("Workflows", None))
    policy = Policy(read_exceptions(["127.0.0.1:8000"]))
    check = CredentialCheck(cast("Credentials", None), types)
    policies = Policies(policy, Denying())
    return Submissions(cast("Workflows", None), list_realms(), types, policies, retries, check)


def visit(url: str, *, deferred: bool = False, **more: Any) -> SubmitExecution:
    return SubmitExecution(
        execution_id=ExecutionId(uuid7()),
        intent_id=IntentId(uuid7()),
        session_id=None,
        user_id=None,
        realm="browser",
        intent="visit",
        parameters={"url": url, **more},
        deferred=deferred,
        submitted_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/lamps", "https://example.org/"])
async def test_a_host_that_may_be_reached_is_drawn_as_a_workflow(submissions: Submissions, url: str) -> None:
    new = await submissions.prepare(TENANT, visit(url, selector="h1"))
    assert new.failure is None
    assert new.plan is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9000/",
        "https://localhost/",
        "http://10.1.2.3/",
        "https://a.denied.example/",
    ],
)
async def test_a_forbidden_host_is_refused_at_once(submissions: Submissions, url: str) -> None:
    with pytest.raises(ApiError) as caught:
        await submissions.prepare(TENANT, visit(url))
    assert caught.value.code is Code.HOST_REFUSED
    assert caught.value.hint


async def test_a_run_may_say_what_it_reaches(submissions: Submissions) -> None:
    new = await submissions.prepare(TENANT, visit("https://a.example/", allowed_domains=["*.example"]))
    assert new.plan is not None
    assert new.plan["allowed_domains"] == ["*.example"]
    for url, code in (("https://example.org/", Code.HOST_REFUSED), ("https://a.denied.example/", Code.HOST_REFUSED)):
        with pytest.raises(ApiError) as caught:
            await submissions.prepare(TENANT, visit(url, allowed_domains=["*.example"]))
        assert caught.value.code is code
    with pytest.raises(ApiError) as caught:
        await submissions.prepare(TENANT, visit("https://a.example/", allowed_domains=["a.example", "http://x"]))
    assert [fault.where for fault in caught.value.faults] == ["body.parameters.allowed_domains[1]"]


@pytest.mark.parametrize(
    ("intent", "more", "where"),
    [
        ("workflow/run", {"workflow_id": ID, "version": 10**30}, "body.parameters.version"),
        ("workflow/run", {"workflow_id": ID, "allowed_domains": [" "]}, "body.parameters.allowed_domains[0]"),
        ("execution/retry", {"execution_id": ID, "answers": {"": "happened"}}, "body.parameters.answers"),
        ("execution/retry", {"execution_id": ID, "node_id": "a"}, "body.parameters.node_id"),
        ("execution/retry", {"execution_id": ID, "start_at": "node", "node_id": ""}, "body.parameters.node_id"),
    ],
)
async def test_what_a_schema_does_not_ask_is_refused_too(
    submissions: Submissions, intent: str, more: dict[str, Any], where: str
) -> None:
    realm, _, name = intent.partition("/")
    asked = visit("").model_copy(update={"realm": realm, "intent": name, "parameters": more})
    with pytest.raises(ApiError) as caught:
        await submissions.prepare(TENANT, asked)
    assert caught.value.code is Code.INVALID
    assert caught.value.faults[0].where.startswith(where)


async def test_a_refusal_that_comes_too_late_is_a_failed_execution(submissions: Submissions) -> None:
    new = await submissions.prepare(TENANT, visit("https://10.1.2.3/", deferred=True))
    assert new.failure is not None
    assert new.failure.code == "host_refused"
