"""What protects less on this installation than it could."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import StringConstraints, field_validator

from contracts.model import Contract, InHeader


class Shortcoming(StrEnum):
    """What is meant.

    `browsers_exposed`: browsers run without Chromium's own sandbox, or are not started for want of it, or nothing shuts
    them off from the machine's network. Both need user namespaces for ordinary users of the machine; the sandbox also
    setpriv (util-linux) where Runtime is root.

    `code_refused`: nothing can shut code in, so that `run_code` is refused. That needs bubblewrap and user namespaces,
    or Linux 5.13 with Landlock.

    `tenants_together`: people of more than one tenant have executions on this installation (guests don't count), and a
    worker is not told to keep them apart. `STAGEDOOR_RUNTIME_MULTI_TENANT=true` tells it.

    There may be more of them some day: leave out those you don't know.

    `stagedoor doctor` tries both; docs/OPERATING.md has more, under "How browsers are shut in" and "Code in the
    sandbox".
    """

    BROWSERS_EXPOSED = "browsers_exposed"
    CODE_REFUSED = "code_refused"
    TENANTS_TOGETHER = "tenants_together"


class FoundShortcoming(Contract):
    """One that workers have found on their machines, with what they say of it."""

    shortcoming: Shortcoming
    detail: str
    """What is so, and what to do about it, for whoever runs the machine."""
    workers: int
    """How many of those that are there now say so."""


class Shortcomings(Contract):
    items: list[FoundShortcoming]

    @field_validator("items", mode="before")
    @classmethod
    def _leave_out_unknown(cls, items: Any) -> Any:
        """One kind that a newer Runtime knows must not hide all the others."""
        if not isinstance(items, list):
            return items
        return [item for item in items if not isinstance(item, dict) or item.get("shortcoming") in _NAMES]


class ListShortcomings(Contract):
    known: Annotated[str, StringConstraints(max_length=1_000), InHeader("Stagedoor-Known-Shortcomings")] | None = None
    """The names that the caller knows, with commas between them; it is told of no others. Without it those of the first
    release. A header, since a Runtime that does not know it yet lets it pass."""

    @property
    def names(self) -> frozenset[str]:
        """As a set."""
        return _FIRST if self.known is None else frozenset(self.known.split(","))


_NAMES = frozenset(one.value for one in Shortcoming)
_FIRST = frozenset({Shortcoming.BROWSERS_EXPOSED.value, Shortcoming.CODE_REFUSED.value})
