"""Figures for Prometheus. One registry per process, made by whoever composes it."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts.execution import ExecutionStatus, StepStatus

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Telemetry:
    """What happened in this process, and what it last saw of the queue."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("http_requests", "Requests answered.", ["method", "status"], registry=self._registry)
        self._request_seconds = Histogram(
            "http_request_duration_seconds", "Time to the first byte of an answer.", ["method"], registry=self._registry
        )
        self._runs = Histogram(
            "agent_run_duration_seconds",
            "Executions from their first start to their end.",
            ["status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._steps = Histogram(
            "agent_step_duration_seconds",
            "Attempts at nodes.",
            ["node_type", "status"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._lost = Counter("worker_losses", "Runs found without their worker.", registry=self._registry)
        self.leases = Gauge("worker_leases", "Executions this process holds now.", registry=self._registry)
        self.queue_depth = Gauge("queue_depth", "Executions that wait for a worker.", registry=self._registry)
        self.queue_picked = Gauge("queue_picked", "Executions that a worker holds.", registry=self._registry)
        self.queue_lag = Gauge("queue_lag_seconds", "Age of the oldest one that waits.", registry=self._registry)

    def count_request(self, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(method, str(status)).inc()
        self._request_seconds.labels(method).observe(seconds)

    def count_run(self, status: ExecutionStatus, seconds: float) -> None:
        """An execution ended in this process."""
        self._runs.labels(status.value).observe(seconds)

    def count_step(self, node_type: str, status: StepStatus, seconds: float) -> None:
        """An attempt at a node ended in this process."""
        self._steps.labels(node_type, status.value).observe(seconds)

    def count_losses(self, number: int) -> None:
        """Runs were found open whose workers are gone."""
        self._lost.inc(number)

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)
