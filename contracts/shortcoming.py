"""What protects less on this installation than it could."""

from enum import StrEnum

from contracts.model import Contract


class Shortcoming(StrEnum):
    """What is meant.

    `browsers_exposed`: browsers run without Chromium's own sandbox, or are not started for want of it, or nothing shuts
    them off from the machine's network. Both need user namespaces for ordinary users of the machine; the sandbox also
    setpriv (util-linux) where Runtime is root.

    `code_refused`: nothing can shut code in, so that `run_code` is refused. That needs bubblewrap and user namespaces,
    or Linux 5.13 with Landlock.

    `tenants_together`: more than one tenant has executions on this installation, and a worker is not told to keep them
    apart. `STAGEDOOR_RUNTIME_MULTI_TENANT=true` tells it.

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
