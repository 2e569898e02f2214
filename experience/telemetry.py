"""Figures for Prometheus, on a port of their own: the public one never answers `/metrics`.

What happens for each event or frame is not counted in Prometheus' own objects, whose look-up of a label costs as much
as sending: the parts keep plain integers, which are read when somebody scrapes.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
import uvicorn

from contracts.wiring.metering import Metrics
from contracts.wiring.server import build_app
from contracts.wiring.subscriber import Subscriber
from experience.auth.throttle import Throttle
from experience.outbox import Outbox
from experience.realtime.socket import Streams
from experience.settings import Settings

log = structlog.get_logger()


class Telemetry(Metrics):
    """This process's registry; each part is told of it once, when the process is put together."""

    def tell_entrances(self, throttle: Throttle) -> None:
        """Who was kept out."""
        self.count("logins_refused", "Wrong passwords, tokens and codes at the entrances.", lambda: throttle.failed)
        self.count("logins_throttled", "Attempts at the entrances that were made to wait.", lambda: throttle.refused)

    def tell_outbox(self, outbox: Outbox) -> None:
        """What Runtime has not heard. The depth is the installation's: of replicas take the maximum, not the sum."""
        self.count(
            "outbox_deliveries", "Attempts to hand something to Runtime.", lambda: dict(outbox.outcomes), "outcome"
        )
        self.gauge(
            "outbox_depth",
            "Intents and cancels that Runtime has not confirmed.",
            lambda: {"submit": outbox.depth.submits, "cancel": outbox.depth.cancels} if outbox.depth else None,
            "kind",
        )
        self.gauge(
            "outbox_oldest_seconds",
            "Age of the oldest intent among them.",
            lambda: outbox.depth.oldest_s if outbox.depth else None,
        )

    def tell_streams(self, streams: Streams, subscriber: Subscriber) -> None:
        """Who watches, and how it gets here."""
        hub = streams.hub
        self.gauge("open_streams", "Execution streams that are open.", lambda: dict(streams.open), "dialect")
        self.count(
            "dropped_to_log_streams", "Times a slow client left the tail and read the log instead.", lambda: hub.dropped
        )
        self.gauge("streams_reading_log", "Clients that read the log now.", lambda: hub.reading_log)
        self.count("stream_pings", "Ping frames sent on streams.", lambda: streams.pings)
        self.gauge("watched_executions", "Executions that somebody watches here.", lambda: hub.feeds)
        self.gauge("upstream_subscriptions", "Logs heard from Runtime.", lambda: subscriber.subscriptions)
        self.gauge("upstream_connected", "1 while Runtime's channel is up; 0: polling.", lambda: subscriber.connected)
        self.count("upstream_connections", "Times that channel came up.", lambda: subscriber.connections)

    async def serve(self, settings: Settings) -> None:
        """Answer scrapes until cancelled.

        Raises:
            OSError: the address can't be had now.
        """
        # bound here: uvicorn would end the process over a port that is taken
        with socket.create_server((settings.metrics_host, settings.metrics_port)) as listening:
            app = build_app([self.route()])
            server = _Server(
                uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False, server_header=False)
            )
            try:
                await server.serve(sockets=[listening])
            finally:
                server.force_exit = True
                await server.shutdown(sockets=[listening])


class _Server(uvicorn.Server):
    """Leaves the signals to the server of everything else."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured here."""
        yield

    def _log_started_message(self, listeners: Sequence[socket.SocketType]) -> None:
        # uvicorn's own line would look like the public address
        log.info("metrics are served", address=listeners[0].getsockname()[:2])
