"""Identical calls share one, and nobody suffers from another's leaving."""

import asyncio

import pytest

from contracts.errors import ApiError, Code
from contracts.wiring.shared import SharedCalls


class Upstream:
    """Counts how often it is asked; answers when told to."""

    def __init__(self, failure: ApiError | None = None) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self._failure = failure

    async def answer(self) -> str:
        self.asked += 1
        await self.go.wait()
        if self._failure:
            raise self._failure
        return f"answer {self.asked}"


async def ask_many(shared: SharedCalls, upstream: Upstream, count: int) -> list[asyncio.Task[str]]:
    tasks = [asyncio.ensure_future(shared.share("key", upstream.answer)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_ask_at_once_share_one_call() -> None:
    shared, upstream = SharedCalls(), Upstream()
    tasks = await ask_many(shared, upstream, 20)
    upstream.go.set()
    assert {await task for task in tasks} == {"answer 1"}
    assert upstream.asked == 1


async def test_who_asks_later_gets_a_call_of_its_own() -> None:
    shared, upstream = SharedCalls(), Upstream()
    upstream.go.set()
    assert await shared.share("key", upstream.answer) == "answer 1"
    assert await shared.share("key", upstream.answer) == "answer 2"


async def test_other_keys_do_not_wait() -> None:
    shared, slow, quick = SharedCalls(), Upstream(), Upstream()
    tasks = await ask_many(shared, slow, 1)
    quick.go.set()
    assert await shared.share("other key", quick.answer) == "answer 1"
    slow.go.set()
    await tasks[0]


async def test_a_failure_reaches_everybody() -> None:
    shared, upstream = SharedCalls(), Upstream(ApiError(Code.UNAVAILABLE, "away"))
    tasks = await ask_many(shared, upstream, 3)
    upstream.go.set()
    for task in tasks:
        with pytest.raises(ApiError) as caught:
            await task
        assert caught.value.code is Code.UNAVAILABLE
    assert upstream.asked == 1


async def test_when_the_first_leaves_the_next_asks_anew() -> None:
    shared, upstream = SharedCalls(), Upstream()
    first, *rest = await ask_many(shared, upstream, 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.sleep(0)
    upstream.go.set()
    assert {await task for task in rest} == {"answer 2"}


async def test_one_who_leaves_early_takes_nothing_from_the_others() -> None:
    shared, upstream = SharedCalls(), Upstream()
    first, second, third = await ask_many(shared, upstream, 3)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    upstream.go.set()
    assert await first == await third == "answer 1"
    assert upstream.asked == 1
