"""The catalogue: checked against before anything is stored, known also while Runtime is away."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.execution import IntentType, Realm, Realms
from experience.store.migrate import migrate
from tests.support.fake_runtime import REALMS, FakeRuntime
from tests.support.front import write_keys
from tests.support.house import House, Visitor, register, run_house, until
from tests.support.postgres import Database

GREET = IntentType(intent="greet", title="Greet", description="Says hello.", parameters={"type": "object"}, example={})


async def test_people_read_what_runtime_offers(ada: Visitor) -> None:
    answer = await ada.http.get("/api/intent/catalogue")
    assert Realms.model_validate(answer.json()) == REALMS


@pytest.mark.parametrize(
    ("parameters", "where", "rule"),
    [
        ({}, "body.parameters.url", "missing"),
        ({"url": ""}, "body.parameters.url", "minLength"),
        ({"url": 5}, "body.parameters.url", "type"),
        ({"url": None}, "body.parameters.url", "type"),
        ({"url": "u" * 2_001}, "body.parameters.url", "maxLength"),
        ({"url": "u", "colour": "red"}, "body.parameters.colour", "unknown"),
        ({"url": "u", "tries": 0}, "body.parameters.tries", "minimum"),
        ({"url": "u", "fields": ["a", 1]}, "body.parameters.fields[1]", "type"),
        ({"url": "u", "screenshot": "true"}, "body.parameters.screenshot", "type"),
    ],
)
async def test_faults_name_the_parameter(ada: Visitor, parameters: dict[str, Any], where: str, rule: str) -> None:
    answer = await ada.submit(parameters=parameters, key="free-for-the-next-try")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    [fault] = answer.json()["faults"]
    assert (fault["where"], fault["rule"]) == (where, rule)
    assert fault["detail"]
    assert "catalogue" in answer.json()["hint"]
    assert len(answer.text) < 2_000


async def test_all_faults_come_in_one_answer(ada: Visitor) -> None:
    answer = await ada.submit(parameters={"screenshot": 1, "colour": 2})
    wheres = [fault["where"] for fault in answer.json()["faults"]]
    assert wheres == ["body.parameters.colour", "body.parameters.screenshot", "body.parameters.url"]


async def test_a_refused_request_leaves_its_key_free(house: House, ada: Visitor) -> None:
    assert (await ada.submit(parameters={}, key="again")).status_code == 422
    assert house.runtime.executions[ada.tenant_id] == {}
    assert (await ada.submit(key="again")).status_code == 202


async def test_a_workflows_faults_point_into_its_own_request(ada: Visitor) -> None:
    answer = await ada.http.post("/api/workflow/not-an-id/run", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("field", "value", "known"), [("realm", "kitchen", "browser, execution, workflow"), ("intent", "fly", "visit")]
)
async def test_unknown_realms_and_intents_are_told_what_there_is(
    ada: Visitor, field: str, value: str, known: str
) -> None:
    answer = await ada.submit(**{field: value})
    assert (answer.status_code, answer.json()["faults"][0]["where"]) == (422, f"body.{field}")
    assert known in answer.json()["detail"]


async def test_a_new_process_knows_the_catalogue_of_the_one_before(house: House, ada: Visitor, tmp_path: Path) -> None:
    await ada.http.get("/api/intent/catalogue")
    house.runtime.down()
    with run_house(house.database, house.settings.token_key_file.parent, house.runtime) as newborn:
        async with newborn.visit(ada.token) as http:
            answer = await http.get("/api/intent/catalogue")
            assert answer.status_code == 200
            body = {"realm": "browser", "intent": "visit", "parameters": {}}
            refused = await http.post("/api/intent", json=body)
            assert refused.json()["faults"][0]["where"] == "body.parameters.url"


async def test_without_any_catalogue_there_is_a_clear_answer(
    make_database: Callable[[], Database], tmp_path: Path
) -> None:
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    runtime = FakeRuntime(write_keys(tmp_path)["internal_key_file"].with_suffix(".pub").read_bytes())
    with run_house(database, tmp_path, runtime) as lonely:
        visitor = await register(lonely)
        try:
            answer = await visitor.submit()
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert (await visitor.http.get("/api/intent/pending")).json()["items"] == []
            runtime.up()
            assert (await visitor.submit()).status_code == 202
        finally:
            await visitor.http.aclose()
            runtime.down()


async def test_ready_means_that_the_catalogue_is_known(make_database: Callable[[], Database], tmp_path: Path) -> None:
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    runtime = FakeRuntime(write_keys(tmp_path)["internal_key_file"].with_suffix(".pub").read_bytes())
    runtime.realms = None  # type: ignore[assignment]  # it has just started, and fails
    runtime.up()
    (tmp_path / "index.html").touch()
    try:
        with run_house(database, tmp_path, runtime, web_dir=tmp_path) as newborn:
            async with newborn.visit() as http:
                unready = await http.get("/ready")
                assert (unready.status_code, unready.json()["checks"]["page"]) == (503, "ok")
                assert unready.json()["checks"]["runtime"] != "ok"
                runtime.realms = REALMS
                assert (await http.get("/ready")).json()["checks"]["runtime"] == "ok"
    finally:
        runtime.down()


async def test_what_runtime_learns_is_known_here_soon(
    make_database: Callable[[], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experience.realms.REFRESH_S", 0.05)
    database = make_database()
    await migrate(database.dsn("experience_owner"))
    with run_house(database, tmp_path) as opened:
        visitor = await register(opened)
        try:
            assert (await visitor.submit(intent="greet", parameters={})).status_code == 422
            opened.runtime.realms = Realms(realms=[Realm(realm="browser", title="Browser", intents=[GREET])])

            async def is_known() -> bool:
                return (await visitor.submit(intent="greet", parameters={})).status_code == 202

            await until(is_known)
            assert (await visitor.submit()).status_code == 422
        finally:
            await visitor.http.aclose()
