"""What the parts of a process tell of themselves whenever somebody scrapes: each figure is kept where it is made."""

from collections.abc import Callable

from runtime.browser.pool import Pool, PoolFigures
from runtime.egress.permit import Tally
from runtime.housekeeping import Housekeeping
from runtime.sandbox.sandbox import Sandbox
from runtime.store.db import Database
from runtime.store.upkeep import Figures
from runtime.store.wakeups import Wakeups
from runtime.telemetry import Telemetry


def tell_ground(telemetry: Telemetry, db: Database, wakeups: Wakeups) -> None:
    """What every process of Runtime has."""
    telemetry.count("events_appended", "Events recorded by this process, in any log.", lambda: db.events_appended)
    telemetry.gauge("wakeups_listening", "1 while wake-ups come; 0 while readers poll.", lambda: wakeups.listening)


def tell_browsers(telemetry: Telemetry, pool: Pool) -> None:
    """What a worker has besides."""
    telemetry.gauge("browser_processes", "Chromiums that run.", lambda: pool.figures.browsers)
    telemetry.gauge("browser_contexts", "Contexts open in them.", lambda: pool.figures.contexts)
    telemetry.gauge("browser_parked_pages", "Pages that stand ready for the next lease.", lambda: pool.figures.parked)
    telemetry.gauge("browser_memory_bytes", "What all of them hold (PSS), now and then.", lambda: pool.figures.memory)
    telemetry.count("browser_launches", "Chromiums started.", lambda: pool.figures.launched)
    telemetry.count("browser_crashes", "Chromiums that ended unasked.", lambda: pool.figures.crashed)
    telemetry.gauge(
        "browser_sandboxed", "1 while browsers have Chromium's own sandbox.", lambda: _tell_sandboxed(pool.figures)
    )
    telemetry.gauge("browser_jail", "1 for the jail that browsers are in.", lambda: _tell_jail(pool.figures), "name")
    telemetry.count("browser_overgrown", "Chromiums that held too much memory.", lambda: pool.figures.overgrown)


def _tell_sandboxed(figures: PoolFigures) -> float | None:
    return None if figures.confinement is None else float(figures.confinement.sandboxed)


def _tell_jail(figures: PoolFigures) -> dict[str, float] | None:
    return None if figures.confinement is None else {figures.confinement.jail.value: 1}


def tell_egress(telemetry: Telemetry, tally: Tally) -> None:
    """What goes through a worker's doors."""
    telemetry.count(
        "egress_refusals",
        "Connections that the egress policy refused.",
        lambda: {rule.value: number for rule, number in tally.refused.items()},
        "rule",
    )
    telemetry.count(
        "egress_bytes",
        "Bytes that runs sent and received.",
        lambda: {"sent": tally.sent, "received": tally.received},
        "direction",
    )
    telemetry.count("egress_connections", "Connections let through.", lambda: tally.opened)
    telemetry.gauge("egress_connections_open", "Connections open now.", lambda: tally.open)
    telemetry.count("egress_unreachable", "Connections let through that nobody took.", lambda: tally.unreachable)


def tell_sandbox(telemetry: Telemetry, sandbox: Sandbox) -> None:
    """What shuts code in, and how its runs ended."""
    telemetry.gauge("sandbox_backend", "1 for the backend that is used.", lambda: sandbox.backends, "name")
    telemetry.count("sandbox_runs", "Runs of code, by how they ended.", lambda: dict(sandbox.ended), "outcome")


def tell_house(telemetry: Telemetry, house: Housekeeping) -> None:
    """What those who keep house know of all tenants. Every replica tells the same: take the maximum, not the sum."""

    def known(read: Callable[[Figures], float]) -> Callable[[], float | None]:
        return lambda: None if house.figures is None else read(house.figures)

    telemetry.gauge("queue_depth", "Executions that wait for a worker.", known(lambda found: found.queue.queued))
    telemetry.gauge("queue_picked", "Executions that a worker holds.", known(lambda found: found.queue.picked))
    telemetry.gauge(
        "queue_lag_seconds", "Age of the oldest that could start now.", known(lambda found: found.queue.lag_s)
    )
    telemetry.gauge(
        "executions_not_admitted",
        "Pending executions that wait for a place of their tenant's.",
        known(lambda found: found.not_admitted),
    )
    telemetry.gauge(
        "dead_letters_open", "Dead letters that nobody has decided about.", known(lambda found: found.dead_letters)
    )
    telemetry.gauge(
        "executions_open",
        "Executions that have not ended.",
        lambda: None if house.figures is None else house.figures.open,
        "status",
    )
    telemetry.gauge(
        "pruned_timestamp_seconds",
        "When this process last came to the end of a round of pruning; when it began, before the first one.",
        lambda: house.pruned_at,
    )
    telemetry.gauge(
        "artifact_disk_bytes", "Size of the artifacts' disk.", lambda: house.disk.size if house.disk else None
    )
    telemetry.gauge("artifact_disk_free_bytes", "What is left of it.", lambda: house.disk.free if house.disk else None)
