"""What happened in this process, for Prometheus. One registry per process, made by whoever composes it."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from contracts.execution import ExecutionStatus, FailureCode, StepStatus
from contracts.wiring.metering import Metrics

_SECONDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Telemetry(Metrics):
    """Runs and steps as they end. What can be read off the parts themselves is read off them (runtime/figures.py)."""

    def __init__(self) -> None:
        super().__init__()
        self._runs = Histogram(
            "agent_run_duration_seconds",
            "Executions from their first start to their end.",
            ["status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "agent_step_duration_seconds",
            "Attempts at nodes.",
            ["node_type", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._failed = Counter(
            "agent_step_failures",
            "Attempts at nodes that ended badly, by failure code; status retrying: another attempt follows.",
            ["code", "status"],
            registry=self.registry,
        )
        self._lost = Counter("worker_losses", "Runs found without their worker.", registry=self.registry)
        self._fenced = Counter(
            "worker_leases_lost", "Runs of this process that another one had taken over.", registry=self.registry
        )
        self.leases = Gauge("worker_leases", "Executions this process holds now.", registry=self.registry)

    def count_run(self, status: ExecutionStatus, seconds: float) -> None:
        """An execution ended in this process."""
        self._runs.labels(status.value).observe(seconds)

    def count_step(
        self, node_type: str, status: StepStatus, seconds: float | None, failure: FailureCode | None = None
    ) -> None:
        """An attempt at a node ended in this process; `seconds` is None when it never began."""
        if seconds is not None:
            self._steps.labels(node_type, status.value).observe(seconds)
        if failure is not None:
            self._failed.labels(failure.value, status.value).inc()

    def count_losses(self, number: int) -> None:
        """Runs were found open whose workers are gone."""
        self._lost.inc(number)

    def count_fenced(self) -> None:
        """A run of this process found that it may not write any more."""
        self._fenced.inc()
