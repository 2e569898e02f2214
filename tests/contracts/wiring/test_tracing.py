"""Which trace work belongs to: what a header may say, and what is handed on."""

import asyncio

import pytest

from contracts.wiring.tracing import current_trace, in_trace, read_trace, trace_headers

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_who_is_told_a_trace_goes_on_in_a_span_of_its_own() -> None:
    with in_trace(PARENT) as trace:
        assert current_trace() == trace
        assert trace.trace_id == TRACE
        assert trace.span_id != "b7ad6b7169203331"
        assert trace_headers() == {"traceparent": f"00-{TRACE}-{trace.span_id}-01"}
        with in_trace(trace.header) as below:
            assert (below.trace_id, below.span_id != trace.span_id) == (TRACE, True)
        assert current_trace() == trace
    assert current_trace() is None
    assert trace_headers() == {}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        PARENT.upper(),
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"{PARENT}-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{TRACE}-b7ad6b7169203331-1",
        f"{PARENT}\n00-{TRACE}-b7ad6b7169203331-01",
    ],
)
def test_what_is_no_header_begins_a_trace(header: str | None) -> None:
    with in_trace(header) as trace, in_trace(header) as other:
        assert trace.trace_id not in {TRACE, other.trace_id}
        assert read_trace(trace.header) == trace


def test_later_versions_may_say_more() -> None:
    assert read_trace(f"cc-{TRACE}-b7ad6b7169203331-09-what-the-future-will-be") == read_trace(PARENT)


async def test_each_task_has_its_own() -> None:
    async def begin() -> str:
        with in_trace(None) as trace:
            await asyncio.sleep(0)
            assert current_trace() == trace
            return trace.trace_id

    async with asyncio.TaskGroup() as group:
        begun = [group.create_task(begin()) for _ in range(5)]
    assert len({task.result() for task in begun}) == 5
