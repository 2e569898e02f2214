"""Browser profiles: what sites have kept in a browser, saved by one execution so that others begin signed in.

Cookies and storage go in and never come out: workflows name a profile, the API shows what may be known of it.
"""

from typing import Annotated, Literal

from pydantic import StringConstraints

from contracts.model import BrowserProfileId, Contract, Cursor, ExecutionId, Instant, Limit, NodeId, Words

ProfileName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"),
    Words("A name is a letter, then letters, digits, _ and -; at most 64 characters"),
]
"""What workflows call it, unique in its tenant."""


class BrowserProfile(Contract):
    """What may be known of a profile: everything but what is in it."""

    browser_profile_id: BrowserProfileId
    name: ProfileName
    hosts: list[str]
    """Hosts that something was kept for, cookies' domains among them, in alphabetical order; at most 100."""
    size: int
    """Bytes of what was kept."""
    version: int
    """1 at first; each save makes the next and throws the one before away."""
    saved_by: ExecutionId
    """The execution that saved this version."""
    created_at: Instant
    updated_at: Instant
    last_used_at: Instant | None


class BrowserProfileRef(Contract):
    browser_profile_id: BrowserProfileId


class ListBrowserProfiles(Contract):
    cursor: Cursor | None = None
    limit: Limit = 50


class BrowserProfileUse(Contract):
    """One use: which node of which execution saved or loaded it."""

    browser_profile_id: BrowserProfileId
    name: str
    version: int
    act: Literal["saved", "loaded"]
    execution_id: ExecutionId
    node_id: NodeId
    at: Instant


class ListProfileUses(Contract):
    browser_profile_id: BrowserProfileId
    cursor: Cursor | None = None
    limit: Limit = 50
