"""The checker checked: each promise, broken in one place of a sound record, is named, and no other."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.invariants import ALWAYS, IN_THE_END, find_violations
from tests.chaos.ledger import Ledger, Sighting
from tests.chaos.snapshot import Snapshot

E, T, OTHER = "execution", "tenant", "another tenant"
AT = datetime(2030, 1, 1, tzinfo=UTC)

World = tuple[Snapshot, Ledger]


def make_event(seq: int, kind: str, **said: Any) -> dict[str, Any]:
    return {"seq": seq, "type": kind, "tenant_id": T, "body": {"seq": seq, "type": kind, **said}}


def make_step_event(seq: int, node_id: str, epoch: int, status: str) -> dict[str, Any]:
    return make_event(seq, "step_update", step={"node_id": node_id, "epoch": epoch, "status": status})


def make_step(node_id: str, attempt: int, status: str, code: str | None = None, paid: int = 1) -> dict[str, Any]:
    error = {"code": code} if code else None
    facts = {"node_id": node_id, "attempt": attempt, "status": status, "error": error, "credits": paid}
    return facts | {"tenant_id": T, "epoch": 2, "started_at": AT, "reused": False}


def make_run(epoch: int, outcome: str) -> dict[str, Any]:
    return {"epoch": epoch, "outcome": outcome, "ended_at": AT, "tenant_id": T}


@pytest.fixture
def world() -> World:
    """An execution that lost a worker in its first node, and one client that saw all of it."""
    events = [
        make_event(1, "accepted"),
        make_step_event(2, "look", 1, "running"),
        make_event(3, "log", log={"message": "Run 2 goes on from the last finished step."}),
        make_step_event(4, "look", 2, "running"),
        make_step_event(5, "look", 2, "success"),
        make_step_event(6, "buy", 2, "success"),
        make_event(7, "completion"),
    ]
    steps = [make_step("look", 1, "retrying", "worker_lost", 0), make_step("look", 2, "success")]
    nodes = [{"id": "look", "safe": True, "attempts": 1}, {"id": "buy", "safe": False, "attempts": 1}]
    row = {"execution_id": E, "tenant_id": T, "status": "completed", "epoch": 2, "losses": 1, "head_seq": 7}
    snapshot = Snapshot(
        executions={E: row | {"error": None, "credits": 2, "admitted_at": AT, "whole_plan": {"nodes": nodes}}},
        intents=[{"intent_id": "i", "execution_id": E, "tenant_id": T, "next_attempt_at": None}],
        queue=[],
        events={E: events},
        steps={E: [*steps, make_step("buy", 1, "success")]},
        runs={E: [make_run(1, "lost"), make_run(2, "finished")]},
    )
    bodies = [copy.deepcopy(event["body"]) for event in events]
    sighting = Sighting(E, seqs=list(range(1, 8)), bodies=bodies, done=True)
    return copy.deepcopy(snapshot), Ledger(accepted={E: T}, sightings=[sighting], orders={"ada": 1})


def test_a_sound_record_breaks_nothing(world: World) -> None:
    assert find_violations(*world, settled=True) == []


def row(world: World) -> dict[str, Any]:
    found: Any = world[0].executions[E]
    row: dict[str, Any] = found
    return row


def first(world: World, table: str, index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = getattr(world[0], table)[E][index]
    return found


def rows(world: World, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = getattr(world[0], table)
    return found


BREAKS: dict[str, list[Callable[[World], object]]] = {
    "one_execution_for_each_acknowledged_submit": [
        lambda world: rows(world, "intents").append(rows(world, "intents")[0]),
        lambda world: rows(world, "intents").clear(),
    ],
    "seq_without_gaps": [
        lambda world: row(world).update(head_seq=8),
        lambda world: unsee(world) and first(world, "events", 1)["body"].update(seq=9),
    ],
    "one_terminal_event_and_it_is_last": [
        lambda world: row(world).update(status="failed"),
        lambda world: first(world, "events", 5).update(type="completion"),
    ],
    "every_client_saw_each_event_once_in_order": [
        lambda world: world[1].sightings[0].seqs.insert(3, 3),
        lambda world: world[1].sightings[0].seqs.remove(4),
        lambda world: world[1].sightings[0].bodies.__setitem__(0, {}),
        lambda world: setattr(world[1].sightings[0], "resets", 1),
        lambda world: (world[1].sightings[0].seqs.pop(), world[1].sightings[0].bodies.pop()),
    ],
    "runs_agree_with_the_execution": [
        lambda world: first(world, "runs", 1).update(ended_at=None),
        lambda world: row(world).update(losses=0),
        lambda world: world[0].runs[E].pop(),  # type: ignore[attr-defined]
    ],
    "dead_letters_are_those_that_lost_too_many_workers": [
        lambda world: world[0].dead_letters.update({E: [{"tenant_id": T}]}),  # type: ignore[attr-defined]
    ],
    "attempts_within_their_limit": [
        lambda world: first(world, "steps").update(attempt=3),
        lambda world: (
            world[0]
            .steps[E]
            .extend(  # type: ignore[attr-defined]
                [make_step("look", 3, "retrying", "timeout", 0), make_step("look", 4, "failed", "timeout", 0)]
            )
        ),
    ],
    "no_write_by_a_stale_run": [
        lambda world: unsee(world) and first(world, "events", 4)["body"]["step"].update(epoch=1),
        lambda world: first(world, "steps", 1).update(epoch=3),
    ],
    "no_step_open_after_the_end": [
        lambda world: first(world, "steps", 2).update(status="running"),
        lambda world: (world[0].steps[E].pop(), row(world).update(credits=1)),  # type: ignore[attr-defined]
    ],
    "credits_add_up": [lambda world: row(world).update(credits=3)],
    "no_unsafe_step_ran_twice": [
        lambda world: world[0].steps[E].append(make_step("buy", 2, "success", paid=0)),  # type: ignore[attr-defined]
        lambda world: setattr(world[1], "orders", {"ada": 2}),
    ],
    "no_row_across_tenants": [
        lambda world: first(world, "steps").update(tenant_id=OTHER),
        lambda world: rows(world, "intents")[0].update(tenant_id=OTHER),
    ],
    "every_acknowledged_submit_arrived": [lambda world: rows(world, "intents")[0].update(next_attempt_at=AT)],
    "every_client_saw_the_end": [lambda world: setattr(world[1].sightings[0], "done", False)],
    "queue_agrees_with_the_executions": [
        lambda world: rows(world, "queue").append({"execution_id": E, "tenant_id": T}),
    ],
}


def unsee(world: World) -> bool:
    world[1].sightings.clear()
    return True


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, breaks in BREAKS.items() for n in range(len(breaks))])
def test_each_broken_promise_is_named_and_no_other(world: World, name: str, number: int) -> None:
    BREAKS[name][number](world)
    assert {words.split(":")[0] for words in find_violations(*world, settled=True)} == {name}


def test_every_promise_is_broken_here() -> None:
    assert BREAKS.keys() == {check.__name__ for check in (*ALWAYS, *IN_THE_END)}
