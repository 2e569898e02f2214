"""Which pages live in this run, and how one that was lost comes back (spec W7, docs/adr/0007 and 0015).

A page lives in one browser process, its nodes are rows. A checkpoint, kept after a node that went somewhere, brings the
page back as that node left it; the safe nodes since then run once more. Where a node that must not run twice lies in
between, only a person can say how to go on.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from contracts.execution import Answer, FailureCode
from runtime.engine.plan import PlannedNode
from runtime.engine.progress import Progress, State

_WITHOUT_EFFECT = frozenset(
    {
        FailureCode.INVALID_INPUT,
        FailureCode.INVALID_SELECTOR,
        FailureCode.ELEMENT_NOT_FOUND,
        FailureCode.HOST_REFUSED,
    }
)
"""A node that failed so has left its page as it was."""


class Pages:
    """The pages of one run.

    Args:
        order: the plan's nodes, canonical.
        at: where each of them stands; read, never changed.
        checkpoints: by page, the nodes after which one was kept.
        answers: what a person has said of nodes that must not run twice.
    """

    def __init__(
        self,
        order: Sequence[PlannedNode],
        at: Mapping[str, Progress],
        checkpoints: Mapping[str, Collection[str]],
        answers: Mapping[str, Answer],
    ) -> None:
        self._order = order
        self._at = at
        self._checkpoints = {page: set(nodes) for page, nodes in checkpoints.items()}
        self._answers = dict(answers)
        self._live: set[str] = set()
        self._restoring: set[str] = set()
        """Pages whose next node has to begin by opening them from their checkpoint."""

    def note_success(self, pages: Iterable[str], node_id: str, checkpoints: Iterable[str]) -> None:
        """A node has handed pages on, and left a checkpoint of some."""
        self._live.update(pages)
        for page in checkpoints:
            self._checkpoints.setdefault(page, set()).add(node_id)

    def spend_word(self, node_id: str) -> None:
        """A node begins: a person's word to run it again counts for this once."""
        if self._answers.get(node_id) is Answer.RUN_AGAIN:
            del self._answers[node_id]

    def lose(self, pages: Iterable[str]) -> None:
        """The browser has gone with them, or they could not be brought back."""
        self._live.difference_update(pages)

    def find_lost(self, pages: Iterable[str]) -> list[str]:
        """Those of the pages that have to be brought back and that something is known of."""
        return sorted(page for page in pages if page not in self._live and any(self._find_all_holders(page)))

    def find_blocker(self, page: str) -> PlannedNode | None:
        """The first node that would have to run again for the page and must not without a person's word."""
        holders = (one.node for one in self._find_holders(page))
        return next((node for node in holders if not node.safe and node.id not in self._answers), None)

    def find_replays(self, page: str) -> list[Progress]:
        """Nodes that have to run once more for the page, in order."""
        return [
            one
            for one in self._find_holders(page)
            if one.state is State.SUCCESS and self._answers.get(one.node.id) is not Answer.HAPPENED
        ]

    def bring_back(self, page: str) -> None:
        """Count the page as there: its next node opens it from the checkpoint, if there is one."""
        self._live.add(page)
        if self.find_anchor(page) is not None:
            self._restoring.add(page)

    def take_restores(self, pages: Iterable[str]) -> dict[str, str]:
        """Of a node's pages, those it has to open first, each with the node whose checkpoint holds it."""
        taken = {page: anchor for page in pages if page in self._restoring and (anchor := self.find_anchor(page))}
        self._restoring.difference_update(pages)
        return taken

    def find_anchor(self, page: str) -> str | None:
        """The last node after which a checkpoint of the page was kept; a replay is on its way back to its own."""
        kept = self._checkpoints.get(page, ())
        return next(
            (node.id for node in reversed(self._order) if node.id in kept and self._at[node.id].state is State.SUCCESS),
            None,
        )

    @property
    def can_be_left(self) -> bool:
        """Whether every page could be brought back by another run without asking a person."""
        return not any(self.find_blocker(page) for page in self._live)

    def _find_holders(self, page: str) -> Iterator[Progress]:
        """Ended nodes that have changed the page since its last checkpoint, or may have."""
        anchor = self.find_anchor(page)
        passed = anchor is None
        for one in self._find_all_holders(page):
            if passed:
                yield one
            passed = passed or one.node.id == anchor

    def _find_all_holders(self, page: str) -> Iterator[Progress]:
        for node in self._order:
            one = self._at[node.id]
            changed = one.state is State.SUCCESS or (
                one.state is State.FAILED and one.failure is not None and one.failure.code not in _WITHOUT_EFFECT
            )
            if changed and page in one.pages:
                yield one
