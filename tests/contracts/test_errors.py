"""What is wrong with something sent, in words that say nothing of Python."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from contracts.errors import explain_schema_rule, explain_validation
from contracts.frames import Hello, Ping
from contracts.model import Contract, Cursor, ExecutionId, Instant
from contracts.recovery import Retry
from contracts.workflow import WorkflowDocument

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


class Choice(Contract):
    one: str | int = 0
    frame: Annotated[Hello | Ping, Field(discriminator="type")] | None = None
    at: Instant = datetime(2026, 1, 1, tzinfo=UTC)
    execution_id: ExecutionId | None = None
    cursor: Cursor | None = None
    flag: bool = False
    name: Annotated[str, Field(min_length=1, max_length=3)] = "a"


def explain(model: type[Contract], sent: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(sent)
    found = explain_validation(caught.value, sent)
    return [(".".join(map(str, path)), rule, clause) for path, rule, clause in found]


def test_a_documents_faults_stand_side_by_side_at_their_places() -> None:
    sent = {
        "nodes": [{"id": "a", "type": "x", "position": "left", "data": {"inputs": [1]}}, 7],
        "edges": [{"id": "e", "source": "a", "target": "b", "sourceHandle": "Out"}],
        "settings": {"colour": "red", "max_parallel": 0},
        "colour": "red",
    }
    assert sorted(explain(WorkflowDocument, sent)) == [
        ("colour", "unknown", "Unknown field"),
        ("edges.0.targetHandle", "missing", "Field required"),
        ("name", "missing", "Field required"),
        ("nodes.0.data.inputs", "object", "Expected an object"),
        ("nodes.0.position", "object", "Expected an object"),
        ("nodes.1", "object", "Expected an object"),
        ("settings.colour", "unknown", "Unknown field"),
        ("settings.max_parallel", "greater_than_equal", "Input should be greater than or equal to 1"),
    ]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"one": []}, ("one", "string_type", "Expected a text or a whole number")),
        ({"frame": {"type": "x"}}, ("frame", "wrong_value", "Its 'type' must be one of 'hello', 'ping'")),
        ({"frame": {}}, ("frame", "missing", "The field 'type' says what it is, and is missing")),
        ({"frame": {"type": "ping", "ts": 1.0}}, ("frame.seq", "missing", "Field required")),
        ({"frame": {"type": "ping", "ts": "x", "seq": 1}}, ("frame.ts", "float_parsing", None)),
        ({"at": "0001-01-01T00:00:00+14:00"}, ("at", "wrong_value", "There is no such time in UTC")),
        ({"at": "2026-01-01"}, ("at", "timezone_aware", "Write an instant as 2026-01-31T12:00:00Z")),
        ({"at": "soon"}, ("at", "datetime_from_date_parsing", "Write an instant as 2026-01-31T12:00:00Z")),
        ({"execution_id": "4"}, ("execution_id", "uuid_parsing", f"This is no id; one looks like {ID}")),
        ({"name": ""}, ("name", "string_too_short", "Must not be empty")),
        ({"name": "four"}, ("name", "string_too_long", "Must have at most 3 characters")),
        (
            {"cursor": "!"},
            ("cursor", "string_pattern_mismatch", "This is no cursor: take the one of the page before as it is"),
        ),
        ({"flag": "perhaps"}, ("flag", "bool_parsing", "Expected true or false")),
        ([], ("", "object", "Expected an object")),
    ],
)
def test_branches_and_classes_are_not_spoken_of(sent: Any, expected: tuple[str, str, str | None]) -> None:
    ((where, rule, clause),) = explain(Choice, sent)
    assert (where, rule) == expected[:2]
    assert expected[2] in (None, clause)
    assert not re.search(r"[A-Z][a-z]+[A-Z]|_|Contract|Hello|Ping|Value error|dictionary|instance", clause)


def test_a_field_is_named_as_it_is_written() -> None:
    ((_, rule, clause),) = explain(Retry, {"node_id": "a"})
    assert (rule, clause) == ("wrong_value", "`node_id` goes with `start_at`: `node`, and only with it")


@pytest.mark.parametrize(
    ("rule", "wanted", "expected"),
    [
        ("enum", ["one", "two", None], "Must be one of one, two, null"),
        ("const", None, "Must be null"),
        ("type", "integer", "Expected a whole number"),
        ("type", ["string", "null"], "Expected a text or null"),
        ("format", "uuid", f"This is no id; one looks like {ID}"),
        ("pattern", "^https?://", "This does not look like one. An address"),
        ("minLength", 1, "Must not be empty"),
        ("minLength", 2, "Must have at least 2 characters"),
        ("maxLength", 20, "Must have at most 20 characters"),
        ("not", {}, "as the validator says"),
    ],
)
def test_a_rule_of_json_schema_in_words(rule: str, wanted: Any, expected: str) -> None:
    assert explain_schema_rule(rule, wanted, {"description": "An address."}, "as the validator says") == expected
