"""Outputs made fit to be kept, and taken back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from contracts.execution import Artifact, ArtifactKind
from contracts.model import ArtifactId, ExecutionId
from runtime.run.outputs import INLINE_BYTES, describe_lost, expand, make_storable, shrink
from tests.runtime.store.test_runs import make_artifact

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4),
    max_leaves=12,
)


class Shelf:
    """Where values go that don't fit."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}

    async def store(self, name: str, data: bytes) -> Artifact:
        artifact = make_artifact(ExecutionId(uuid7())).model_copy(
            update={"artifact_id": ArtifactId(uuid7()), "kind": ArtifactKind.OUTPUT, "name": name, "size": len(data)}
        )
        self.texts[str(artifact.artifact_id)] = data
        return artifact

    async def load(self, reference: str) -> bytes | None:
        return self.texts.get(reference)


@given(JSON)
def test_whatever_a_page_says_can_be_stored(value: Any) -> None:
    text = to_json(make_storable(value)).decode()
    assert "\\u0000" not in text
    from_json(text)  # neither NaN nor half a surrogate
    assert make_storable(make_storable(value)) == make_storable(value)


def test_ordinary_values_stay_as_they_are() -> None:
    value = {"a": ["ü", "🙂", 1, 1.5, None, True, {"b": ""}]}
    assert make_storable(value) == value


async def test_what_fits_stays_inline() -> None:
    shelf = Shelf()
    values = {"a": "x" * 30_000, "b": "y" * 30_000}
    assert await shrink(values, shelf.store) == values
    assert shelf.texts == {}


async def test_the_largest_goes_first_and_comes_back() -> None:
    shelf = Shelf()
    values = {"small": "s", "large": "l" * 50_000, "larger": {"deep": "d" * 60_000}}
    kept = await shrink(values, shelf.store)
    assert (kept["small"], kept["large"]) == ("s", values["large"])
    assert set(kept["larger"]) == {"$artifact", "size", "preview"}
    assert len(to_json(kept)) <= INLINE_BYTES + 2_000
    assert await expand(kept, shelf.load) == values


async def test_what_only_looks_like_a_reference_is_left_alone() -> None:
    forged = {"page": {"$artifact": str(uuid7())}, "other": {"$artifact": 5}}
    assert await expand(forged, Shelf().load) == forged


@pytest.mark.parametrize("count", [1, 10])
def test_where_nothing_can_be_stored_previews_are_left(count: int) -> None:
    lost = describe_lost({str(number): "z" * 100_000 for number in range(count)})
    assert len(to_json(lost)) < INLINE_BYTES
    assert lost["0"]["size"] == 100_000
