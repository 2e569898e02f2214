"""Programs that stand behind their walls before anybody asks: code is handed to one at once, and the next is started.

Each is told one run's code and no more, exactly as one that is started for it; what is saved is the wait. Runs that
need other limits than the usual ones are not served.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from runtime.sandbox.cgroup import make_group
from runtime.sandbox.launch import Backend, BackendMissing
from runtime.sandbox.limits import Limits
from runtime.sandbox.programs import Language, Program
from runtime.sandbox.warden import Parked, Stop, park

USUAL: Final = Limits()
"""What they are started with."""
PAUSE_S: Final = 0.2
"""Before the next is started, unless the run that took the last one is over: they would be in each other's way."""


@dataclass(frozen=True)
class _Order:
    """One that is being started, or stands."""

    backend: Backend
    program: Program
    begin: threading.Event = field(default_factory=threading.Event)
    future: "Future[Parked]" = field(default_factory=Future)


class Spares:
    """At most one of each language. Safe to use from any thread; close it in the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[Language, _Order] = {}
        # a program ends with the thread that started it, so these live as long as this does
        self._threads = ThreadPoolExecutor(len(Language), "spares")
        self._stop = Stop()
        self._closed = False

    def order(self, backend: Backend, program: Program) -> threading.Event | None:
        """Have one started soon, at once when the event is set; None where one of its language is there."""
        with self._lock:
            if self._closed or program.language in self._orders:
                return None
            order = _Order(backend, program)
            self._orders[program.language] = order
            self._threads.submit(self._start, order)
        return order.begin

    def has(self, language: Language) -> bool:
        """Whether one stands, and nothing has to be waited for."""
        with self._lock:
            order = self._orders.get(language)
        return order is not None and order.future.done()

    def take(self, backend: Backend, program: Program, limits: Limits) -> Parked | None:
        """One that stands, and is nobody else's then; waits for one that is being started. None where none fits."""
        if limits.wall_s > USUAL.wall_s or replace(limits, wall_s=USUAL.wall_s) != USUAL:
            return None
        with self._lock:
            order = self._orders.get(program.language)
            if order is None or (order.backend, order.program) != (backend, program):
                return None
            del self._orders[program.language]
        order.begin.set()
        try:
            parked = order.future.result()
        except (BackendMissing, OSError):
            return None
        if parked.stands:
            return parked
        parked.discard()
        return None

    def drop(self, languages: Iterable[Language] = tuple(Language)) -> None:
        """End those that nobody has taken."""
        with self._lock:
            dropped = [order for language in languages if (order := self._orders.pop(language, None)) is not None]
        for order in dropped:
            order.begin.set()
            with suppress(BackendMissing, OSError):
                order.future.result().discard()

    def close(self) -> None:
        """End all of them, also those that are being started."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.now()
        self.drop()
        self._threads.shutdown(wait=True)
        self._stop.close()

    def _start(self, order: _Order) -> None:
        order.begin.wait(PAUSE_S)
        try:
            launch = order.backend.prepare(order.program, USUAL)
            order.future.set_result(park(launch, USUAL, self._stop, make_group(USUAL.memory)))
        except BaseException as error:  # noqa: BLE001 — whoever takes it is told
            order.future.set_exception(error)
