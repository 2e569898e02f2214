"""Time on the wire, and places of request fields."""

from datetime import UTC, datetime
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from contracts.declare import Endpoint
from contracts.model import Contract, InHeader, InQuery, UnixInstant, unix_text

INSTANT: TypeAdapter[datetime] = TypeAdapter(UnixInstant)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), "1704067200.0"),
        (datetime(2024, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC), "1704067200.123"),
        (datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "1704067200.000001"),
    ],
)
def test_instants_are_the_api_guides_strings(instant: datetime, text: str) -> None:
    assert unix_text(instant) == text
    assert INSTANT.dump_json(instant) == f'"{text}"'.encode()


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_instants_survive_the_wire_to_the_microsecond(instant: datetime) -> None:
    read = INSTANT.validate_json(INSTANT.dump_json(instant))
    assert abs((read - instant).total_seconds()) < 1e-6


class _Request(Contract):
    thing_id: int
    dry: Annotated[bool, InQuery()] = False
    key: Annotated[str, InHeader("X-Key")] | None = None
    text: str = ""


def test_fields_travel_where_the_declaration_says() -> None:
    post = Endpoint(
        method="POST", path="/t/{thing_id}", request=_Request, result=_Request, summary="", scope=None, tag="t"
    )
    get = Endpoint(
        method="GET", path="/t/{thing_id}", request=_Request, result=_Request, summary="", scope=None, tag="t"
    )
    assert post.places == {"thing_id": "path", "dry": "query", "key": "header", "text": "body"}
    assert get.places == {"thing_id": "path", "dry": "query", "key": "header", "text": "query"}


def test_a_path_parameter_without_field_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="lacks"):
        Endpoint(method="GET", path="/t/{other}", request=_Request, result=_Request, summary="", scope=None, tag="t")
