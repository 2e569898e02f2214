"""Every bench by its name, in the order in which they run."""

from collections.abc import Awaitable, Callable

from tests.bench import (
    actions,
    append,
    egress,
    execution_rate,
    fanout,
    first_word,
    growth,
    idle,
    latency,
    parked,
    proxied,
    sandbox,
    start,
    stop,
)
from tests.bench.figure import Figure
from tests.bench.ground import Ground
from tests.bench.rounds import Effort

Bench = Callable[[Ground, Effort], Awaitable[list[Figure]]]

BENCHES: dict[str, Bench] = {
    "b14": start.measure,
    "stop": stop.measure,
    "b1": actions.measure,
    "b2": first_word.measure,
    "b3": execution_rate.measure,
    "b4": fanout.measure,
    "b5": idle.measure_idle,
    "b6": latency.measure_proxied,
    "b7": latency.measure_pushed,
    "b8": proxied.measure,
    "b9": latency.measure_beside_stalled,
    "b11": append.measure,
    "b13": growth.measure,
    "a7": parked.measure,
    "sandbox": sandbox.measure,
    "10k": idle.measure_many,
    "t2": egress.measure,
}

REMARKS = """## Where the time goes

From traces and from profiles taken with cProfile and py-spy; most while the machine did other work, so those tell
shares and counts, no times.

- **B1.** From a trace of one run on a quiet machine, 1,190 ms beside a script's 1,130: 30 ms pass from submit to the
  first thing done to a page (submitting 18, claiming 7), 31 ms from the last picture to the end (the page is closed
  before the end is written), and before each of six clicks, which must not be done twice, 3 ms until its beginning is
  committed. The rest is that both share two cores with Chromium: what is recorded of a step takes 1.5 to 3 ms of CPU,
  mostly while the page works.
- **B3.** An execution of ours sent about 105 messages to PostgreSQL where the floor sends 22; claiming, recording and
  ending are single statements now, safe steps share a transaction, and the queue is not asked in vain (ADR 24). Of the
  worker's time that is left, as py-spy saw it with the GIL held: ending 20 % (its tenant's row, the statement, whom to
  let in next), PgQueuer 17 %, recording 11 %, claiming 11 %, the driver and its machine 11 %, looking at the lease 7 %,
  events rendered and tasks made in between. PgQueuer's statements are also most of what PostgreSQL does for it.
- **B8.** Half of what Experience does for a status is its call to Runtime: building it 14 %, httpx and aiohttp
  together 26 %, of which half is the kernel's; signing the token 4 %, the access log 6 %, everything that authorises,
  routes, parses and renders less than 4 % each. Python's garbage collector took a quarter at 32 calls at once, until
  it was told to leave alone what stays.
- **B9.** A p99 over few rounds of five seconds is mostly the machine's own hiccups: over three of them the same code
  gave 1.32, 1.13 and 1.15. It has seven now.
- **B13.** A p95 over three rounds is a matter of luck, too: a whole run gave 1.54 for the status where seven rounds of
  the same code, measured by themselves, gave 1.02. It has seven since. Lists by text read along the index of the list
  until they have found a page: words that hardly occur cost more the more executions there are. That search is
  not among the measured ones.
"""
"""Said below the table: what the profiles showed."""
