"""The wheel calls on everybody in time, once, and again when they ask for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from experience.realtime.wheel import Wheel

TICK_S = 0.02


class Called:
    """Somebody who wants to be called every `every_s`, `times` times."""

    def __init__(self, every_s: float, times: int) -> None:
        self.every_s = every_s
        self.times = times
        self.at: list[float] = []

    def on_time(self, now: float) -> float | None:
        self.at.append(asyncio.get_running_loop().time())
        return now + self.every_s if len(self.at) < self.times else None


@asynccontextmanager
async def turning(wheel: Wheel) -> AsyncIterator[float]:
    running = asyncio.ensure_future(wheel.run())
    yield asyncio.get_running_loop().time()
    running.cancel()
    await asyncio.wait([running])


async def test_many_are_called_when_they_are_due_and_never_a_tick_too_early() -> None:
    wheel = Wheel(TICK_S)
    async with turning(wheel) as began:
        waiting = [Called(1, 1) for _ in range(500)]
        for place, one in enumerate(waiting):
            wheel.add(one, began + place * 0.001)
        await asyncio.sleep(0.7)
        for place, one in enumerate(waiting):
            assert len(one.at) == 1
            assert one.at[0] > began + place * 0.001 - TICK_S * 1.01


async def test_who_asks_again_is_called_again_and_who_does_not_is_left_alone() -> None:
    wheel = Wheel(TICK_S)
    async with turning(wheel) as began:
        thrice, once = Called(0.05, 3), Called(0.05, 1)
        wheel.add(thrice, began + 0.05)
        wheel.add(once, began + 0.05)
        async with asyncio.timeout(60):
            while len(thrice.at) < 3:  # noqa: ASYNC110 — nobody tells
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # for calls that nobody asked for
    assert (len(thrice.at), len(once.at)) == (3, 1)


async def test_who_is_due_before_the_wheel_turns_or_already_is_called_at_once() -> None:
    wheel = Wheel(TICK_S)
    now = asyncio.get_running_loop().time()
    early = Called(1, 1)
    wheel.add(early, now - 5)
    async with turning(wheel):
        late = Called(1, 1)
        wheel.add(late, now - 5)
        await asyncio.sleep(0.2)
    assert (len(early.at), len(late.at)) == (1, 1)


async def test_one_that_fails_does_not_stop_the_others() -> None:
    class Broken:
        def on_time(self, now: float) -> float | None:
            raise ValueError("a bug")

    wheel = Wheel(TICK_S)
    async with turning(wheel) as began:
        called = Called(1, 1)
        wheel.add(Broken(), began + 0.05)
        wheel.add(called, began + 0.05)
        await asyncio.sleep(0.3)
    assert len(called.at) == 1
