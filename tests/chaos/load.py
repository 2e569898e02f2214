"""Visitors who keep the stack busy while something is broken: bounded in number, each watched to its end."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.documents import read_the_ticket, wait_in_turn
from tests.chaos.rig import Rig
from tests.chaos.visitors import Visitor

PAUSE_S = (0.2, 0.8)
"""Between two submits of one visitor."""


@dataclass
class Load:
    """What was started so far."""

    visitors: list[Visitor] = field(default_factory=list)
    started: list[tuple[Visitor, str]] = field(default_factory=list)

    async def wait_for_ends(self) -> list[str]:
        """How each execution ended, once all of them have, and every client has seen it."""
        ends = [str((await visitor.ended(execution_id))["status"]) for visitor, execution_id in self.started]
        for visitor in self.visitors:
            await visitor.seen()
        return ends


@asynccontextmanager
async def raise_load(
    rig: Rig, *, visitors: int = 3, at_most: int = 30, with_browser: bool = True
) -> AsyncIterator[Load]:
    """Submit as long as the block runs, at most so many executions in all; a watch for each."""
    load = Load()
    async with AsyncExitStack() as stack:
        documents = [wait_in_turn(0.1, steps=4), wait_in_turn(0.4, steps=2)]
        documents += [read_the_ticket(rig.shop)] if with_browser else []
        for _ in range(visitors):
            load.visitors.append(await stack.enter_async_context(rig.visit()))
        saved = {id(one): [await one.save(document) for document in documents] for one in load.visitors}

        async def keep_busy(visitor: Visitor) -> None:
            while len(load.started) < at_most:
                execution_id = await visitor.run(random.choice(saved[id(visitor)]))
                load.started.append((visitor, execution_id))
                visitor.watch(execution_id)
                await asyncio.sleep(random.uniform(*PAUSE_S))

        async with asyncio.TaskGroup() as group:
            busy = [group.create_task(keep_busy(visitor)) for visitor in load.visitors]
            yield load
            for task in busy:
                task.cancel()
        # a submit that was cut off in the middle may have been taken: nobody was told, nobody counts it
        assert load.started
        assert set(await load.wait_for_ends()) == {"completed"}
