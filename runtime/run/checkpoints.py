"""The checkpoints of one run: taken after nodes that went somewhere, opened when a page has to come back (spec W7)."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from contracts.model import ExecutionId
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import Page
from runtime.browser.pool import Lease as BrowserLease
from runtime.browser.trail import PageState
from runtime.seal import Seal, SealBroken
from runtime.store.checkpoints import SealedCheckpoint

log = structlog.get_logger()

MAX_BYTES: Final = 1_048_576
"""Of one checkpoint. A site that stores more than this in its visitors' browsers is walked through again instead."""
_STATE = TypeAdapter(PageState)


class Checkpoints:
    """What is known of this execution's pages; without a seal nothing is kept, and lost pages are walked to again."""

    def __init__(self, execution_id: ExecutionId, seal: Seal | None) -> None:
        self._execution_id = execution_id
        self._seal = seal
        self._states: dict[tuple[str, str], PageState] = {}

    @property
    def by_page(self) -> dict[str, Collection[str]]:
        """The nodes after which one was kept, by page, as the machine takes them."""
        found: dict[str, set[str]] = {}
        for page, node_id in self._states:
            found.setdefault(page, set()).add(node_id)
        return {page: frozenset(nodes) for page, nodes in found.items()}

    @property
    def storages(self) -> list[dict[str, Any]]:
        """What sites kept in the browsers that these pages were in."""
        return [state.storage for state in self._states.values()]

    def read(self, kept: Iterable[SealedCheckpoint], owner: ExecutionId | None = None) -> None:
        """Take note of stored ones; of those that can't be opened any more nothing is known.

        Args:
            kept: as they are stored.
            owner: the execution that kept them, when it is another one.
        """
        if self._seal is None:
            return
        for one in kept:
            try:
                text = self._seal.open(one.sealed, place_of(owner or self._execution_id, one.node_id, one.page))
                self._states[one.page, one.node_id] = _STATE.validate_json(text)
            except (SealBroken, ValidationError) as error:
                log.warning("a checkpoint can't be used", node=one.node_id, reason=type(error).__name__)

    def drop_all_but(self, nodes: Collection[str]) -> None:
        """Forget those of nodes that run again."""
        self._states = {key: state for key, state in self._states.items() if key[1] in nodes}

    def seal_all(self) -> list[SealedCheckpoint]:
        """All of them, sealed for this execution."""
        return [one for (page, node_id), state in self._states.items() if (one := self._close(node_id, page, state))]

    async def take(self, node_id: str, page: str, found: Page) -> SealedCheckpoint | None:
        """Keep where a page has come to. What can't be kept is no failure: the way to the page is walked again then."""
        if self._seal is None:
            return None
        try:
            state = await found.read_state()
        except BrowserFailure as failure:
            log.info("no checkpoint", node=node_id, reason=failure.message)
            return None
        if state is None or (sealed := self._close(node_id, page, state)) is None:
            return None
        self._states[page, node_id] = state
        return sealed

    async def restore(self, browser: BrowserLease, page: str, node_id: str) -> None:
        """Open a page as it was after that node. Raises BrowserFailure."""
        await browser.reopen_page(page, self._states[page, node_id])

    def _close(self, node_id: str, page: str, state: PageState) -> SealedCheckpoint | None:
        text = to_json(asdict(state))
        if self._seal is None or len(text) > MAX_BYTES:
            return None
        return SealedCheckpoint(node_id, page, self._seal.close(text, place_of(self._execution_id, node_id, page)))


def place_of(execution_id: UUID, node_id: str, page: str) -> str:
    """What is authenticated with a checkpoint: it opens for this page of this execution only."""
    return f"checkpoint {execution_id} {node_id} {page}"
