"""How often somebody may be wrong. Counters live in PostgreSQL, so replicas and restarts change nothing.

| counter | free failures | then one attempt after | forgotten |
|---|---|---|---|
| an account, whoever tries | 5 | 2 s, doubled each time, at most 60 s | 1 h after the last failure, or by a success |
| an address, whatever it tries | 30 | 10 s, doubled each time, at most 15 min | 1 h after the last failure |
| an account at an address that it has signed in from within 30 days | 5 | as an account | as an account |
| registrations from an address (all count) | 200 | 30 s, doubled each time, at most 15 min | 1 h after the last one |
| guests from an address (all count) | 300 | 10 s, doubled each time, at most 15 min | 1 h after the last one |

The third row stands in place of the first two, so that strangers can't shut the owner out: their failures count under
the account and under their addresses, and not where the owner signs in from. And no wait is longer than 60 s for an
account, so that even from a new address the owner gets a turn. An attempt is counted before the password is looked at:
a hundred guesses at once are a hundred failures. IPv6 addresses count by their /64, which is what one customer gets.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from contracts.errors import ApiError, Code
from experience.audit import Clock
from experience.store.db import SystemDatabase, SystemSession
from experience.store.tables import ThrottleRow
from experience.store.throttle import clear_counter, is_marked, lock_counters, save_counter, set_mark, take_back

KNOWN_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Limit:
    """When to make somebody wait; durations in seconds."""

    free: int
    first_wait_s: float
    longest_wait_s: float
    forget_s: float

    def wait_after(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures."""
        if failures < self.free:
            return 0
        # the exponent is bounded too: 2.0 ** 5000 is no float
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(failures - self.free, 20))


ACCOUNT = Limit(free=5, first_wait_s=2, longest_wait_s=60, forget_s=3_600)
ADDRESS = Limit(free=30, first_wait_s=10, longest_wait_s=900, forget_s=3_600)
# A whole office, or a test suite, may come from one address: these slow a flood down and nobody else.
REGISTRATION = Limit(free=200, first_wait_s=30, longest_wait_s=900, forget_s=3_600)
VISIT = Limit(free=300, first_wait_s=10, longest_wait_s=900, forget_s=3_600)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted attempt to sign in, which a success takes back."""

    cleared: tuple[str, ...]
    taken_back: tuple[str, ...]
    mark: str


class Throttle:
    """Counts failures and makes those wait who have too many."""

    def __init__(self, system: SystemDatabase, clock: Clock) -> None:
        self._system = system
        self._clock = clock
        self.refused = 0
        """Attempts of all kinds that were made to wait."""
        self.failed = 0
        """Passwords, tokens and codes that were wrong."""

    def note_failure(self) -> None:
        """Something shown was wrong; what follows from that has been counted already."""
        self.failed += 1

    async def begin_sign_in(self, email: str, address: str) -> Attempt:
        """Count an attempt at an account; raises ApiError(RATE_LIMITED) when it comes too soon."""
        account, place = _account(email), _place(address)
        pair = f"{account}@{place}"
        mark = f"known:{pair}"
        async with self._system.transaction() as session:
            known = await is_marked(session, mark, self._clock())
        limits = {f"pair:{pair}": ACCOUNT} if known else {f"account:{account}": ACCOUNT, f"address:{place}": ADDRESS}
        await self._count(limits)
        # with the owner's success the account's slate is clean for everybody else, too
        cleared = (f"pair:{pair}", f"account:{account}")
        return Attempt(cleared, () if known else (f"address:{place}",), mark)

    async def end_sign_in(self, session: SystemSession, attempt: Attempt) -> None:
        """The password was right: forget the account's failures, and remember the address as one of its own."""
        now = self._clock()
        for name in attempt.cleared:
            await clear_counter(session, name)
        for name in attempt.taken_back:
            await take_back(session, name, now)
        await set_mark(session, attempt.mark, now=now, until=now + KNOWN_FOR)

    async def count_failure(self, address: str) -> None:
        """Count a wrong token or code from an address; raises ApiError(RATE_LIMITED) when there were too many."""
        self.failed += 1
        await self._count({f"address:{_place(address)}": ADDRESS})

    async def count_registration(self, address: str) -> None:
        """Count a registration; raises ApiError(RATE_LIMITED) when there were too many."""
        await self._count({f"register:{_place(address)}": REGISTRATION})

    async def count_guest(self, address: str) -> None:
        """Count a guest's session; raises ApiError(RATE_LIMITED) when there were too many."""
        await self._count({f"guest:{_place(address)}": VISIT})

    async def _count(self, limits: dict[str, Limit]) -> None:
        now = self._clock()
        async with self._system.transaction() as session:
            rows = await lock_counters(session, list(limits), now)
            wait = max((row.blocked_until - now).total_seconds() for row in rows.values())
            if wait > 0:
                self.refused += 1
                raise _too_soon(wait)
            for name, row in rows.items():
                await save_counter(session, _one_more(row, limits[name], now))


def _one_more(row: ThrottleRow, limit: Limit, now: datetime) -> ThrottleRow:
    row.failures += 1
    row.blocked_until = now + timedelta(seconds=limit.wait_after(row.failures))
    row.forget_at = now + timedelta(seconds=max(limit.forget_s, limit.longest_wait_s))
    return row


def _too_soon(wait_s: float) -> ApiError:
    detail = f"Too many attempts; the next one counts in {wait_s:.0f} seconds."
    hint = "Wait for that time. To sign in meanwhile, use a sign-in link from where you are still signed in."
    return ApiError(Code.RATE_LIMITED, detail, hint, retry_after=wait_s)


def _account(email: str) -> str:
    # hashed: the table then holds no addresses of people who never registered
    return hashlib.sha256(email.encode()).hexdigest()[:32]


def _place(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, 64), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
