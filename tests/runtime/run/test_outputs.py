"""Outputs made fit to be kept, and taken back."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from contracts.events import EVENT
from contracts.execution import Artifact, ArtifactKind, ExecutionStatus, StepStatus
from contracts.frames import Batch, DownstreamFrame
from contracts.model import MAX_DEPTH, ArtifactId, ExecutionId, is_too_deep
from runtime.engine.commands import Finish
from runtime.masking import Redactor
from runtime.run.events import tell_end, tell_step
from runtime.run.outputs import (
    ASIDE_BYTES,
    INLINE_BYTES,
    TOO_DEEP,
    describe_lost,
    expand,
    make_clean,
    make_storable,
    shrink,
)
from runtime.store.changes import to_text
from tests.runtime.made import make_step
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


def nest(levels: int, *, in_objects: bool = False) -> Any:
    value: Any = "the bottom"
    for _ in range(levels):
        value = {"in": value} if in_objects else [value]
    return value


@pytest.mark.parametrize("in_objects", [False, True])
@pytest.mark.parametrize("levels", [1, MAX_DEPTH, MAX_DEPTH + 1, 150, 197, 199, 200, 254, 300, 1_000, 50_000])
def test_whatever_is_written_can_be_read_however_deep_it_was(levels: int, *, in_objects: bool) -> None:
    kept = make_storable({"Value": nest(levels, in_objects=in_objects)})
    assert (TOO_DEEP in to_json(kept).decode()) is (levels > MAX_DEPTH)
    assert ("the bottom" in to_json(kept).decode()) is (levels <= MAX_DEPTH)
    assert make_storable(kept) == kept
    assert from_json(to_text(kept) or "") == kept
    now, execution_id = datetime.now(UTC), ExecutionId(uuid7())
    told = [
        *tell_step(execution_id, make_step("a", StepStatus.SUCCESS, outputs=kept), now),
        *tell_end(
            execution_id,
            Finish(ExecutionStatus.COMPLETED, {}, None, 1, 0),
            {"a": kept},
            progress=1,
            spent=1,
            duration_s=1,
            now=now,
        ),
    ]
    for event in told:
        assert EVENT.validate_json(event.model_dump_json()) == event
    batch = Batch(subscription=1, events=told)
    read: TypeAdapter[DownstreamFrame] = TypeAdapter(DownstreamFrame)
    assert read.validate_json(batch.model_dump_json()) == batch


@pytest.mark.parametrize("levels", [0, 1, 5])
def test_levels_are_counted_along_the_deepest_way(levels: int) -> None:
    value = [1, {"a": nest(levels), "b": "x"}, (2,)]
    assert is_too_deep(value, levels + 1)
    assert not is_too_deep(value, levels + 2)
    assert not is_too_deep("x", 0)


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


@pytest.mark.parametrize(("size", "aside"), [(10, False), (ASIDE_BYTES, True)])
async def test_large_outputs_are_masked_beside_what_else_the_worker_does(
    monkeypatch: pytest.MonkeyPatch, size: int, *, aside: bool
) -> None:
    redactor = Redactor()
    redactor.add("credential.shop.password", "correct horse")
    clean, cleaned_in = redactor.clean, []

    def note(value: Any) -> Any:
        cleaned_in.append(threading.current_thread())
        return clean(value)

    monkeypatch.setattr(redactor, "clean", note)
    text = "." * size
    cleaned = await make_clean({"Text": f"correct horse\0{text}"}, redactor)
    assert cleaned == {"Text": f"[credential.shop.password]\ufffd{text}"}
    assert aside == (threading.current_thread() not in cleaned_in)
