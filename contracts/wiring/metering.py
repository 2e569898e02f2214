"""Figures for Prometheus: one registry per process, with what every process of ours tells.

Names are those of the operations chapter (O3); docs/OPERATING.md lists them. What happens often is counted in plain
integers where it happens, and read when somebody scrapes: see the collectors of the tiers.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.frames import Close

PATH: Final = "/metrics"
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CODES = frozenset({*map(int, Close), 1002, 1005, 1006})
_OTHER = "other"
"""A stranger may send any method and any close code; each label value is kept for the life of the process."""


Reading = float | Mapping[str, float] | Mapping[tuple[str, ...], float] | None
"""A number, or one per label value; None while it is not known, which is no sample and not a zero."""


class Pooled(Protocol):
    """What is told of a door to the database to somebody who may not open it."""

    @property
    def connections_in_use(self) -> int:
        """Connections that somebody has now."""


class Metrics:
    """The registry, with the process's own figures and those of its requests. A Meter (wiring/server)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        labels = ["method", "route", "status"]
        self._requests = Counter("http_requests", "Requests answered.", labels, registry=self.registry)
        self._request_seconds = Histogram(
            "http_request_duration_seconds",
            "Time to the first byte of an answer.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._closed = Counter(
            "streams_closed", "WebSockets that ended, by close code.", ["route", "code"], registry=self.registry
        )

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """See Meter."""
        labels = (method if method in _METHODS else _OTHER, route, str(status))
        self._requests.labels(*labels).inc()
        self._request_seconds.labels(*labels).observe(seconds)

    def count_closed(self, route: str, code: int) -> None:
        """See Meter."""
        self._closed.labels(route, str(code) if code in _CODES else _OTHER).inc()

    def gauge(self, name: str, text: str, read: Callable[[], Reading], *labels: str) -> None:
        """Ask `read` with every scrape for something that goes up and down."""
        self.registry.register(_Read(GaugeMetricFamily, name, text, labels, read))

    def count(self, name: str, text: str, read: Callable[[], Reading], *labels: str) -> None:
        """Ask `read` with every scrape for something that only grows; its name gets `_total`."""
        self.registry.register(_Read(CounterMetricFamily, name, text, labels, read))

    def tell_pools(self, app: Pooled, system: Pooled) -> None:
        """The database, by each of the tier's two roles."""
        self.gauge(
            "database_connections_in_use",
            "Connections of each pool that somebody has now.",
            lambda: {"app": app.connections_in_use, "system": system.connections_in_use},
            "pool",
        )

    def render(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)

    def route(self) -> Route:
        """`GET /metrics`, for an address that only the installation's own network reaches."""

        async def answer(_: Request) -> Response:
            return Response(self.render(), headers={"content-type": MEDIA_TYPE})

        return Route(PATH, answer)


class _Read(Collector):
    """One figure that somebody else keeps."""

    def __init__(
        self,
        family: type[GaugeMetricFamily | CounterMetricFamily],
        name: str,
        text: str,
        labels: tuple[str, ...],
        read: Callable[[], Reading],
    ) -> None:
        self._family = family
        self._name = name
        self._text = text
        self._labels = labels
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """See Collector."""
        family = self._family(self._name, self._text, labels=self._labels)
        found = self._read()
        if isinstance(found, Mapping):
            for key, value in found.items():
                family.add_metric([key] if isinstance(key, str) else key, value)
        elif found is not None:
            family.add_metric([], found)
        yield family
