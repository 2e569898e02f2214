"""Which lines of the stack's processes ask nothing of anybody, so that a terminal need not show them."""

import re

_BY_LEVEL = r"\[(info|debug) *\]"
"""As both tiers write their logs for people, and the shop its one line."""
_SCHEMA = r"^experience schema at "
_POSTGRES_LOG = r" LOG:  (?!.* was terminated by |could not (?!receive data from|send data to))"
"""It starts, it recovers, a client went away. Of the same level: something of its own broke."""
_POSTGRES_GOES = (
    r" FATAL:  (terminating .* due to administrator command|connection to client lost"
    r"|the database system is (starting up|shutting down|not yet accepting connections))"
)
"""It starts or was told to stop, and says so to each connection."""
_POSTGRES_YIELDS = r" ERROR:  canceling (autovacuum task|statement due to user request)"
"""Its tidying makes room for a migration and comes again; a tier took a question back, and says what of it matters."""
_ROUTINE = re.compile(f"{_BY_LEVEL}|{_SCHEMA}|{_POSTGRES_LOG}|{_POSTGRES_GOES}|{_POSTGRES_YIELDS}")
_MORE_OF_IT = re.compile(r"^\t|^[-\d]+ [.:\d]+ \S+ (DETAIL|HINT|QUERY|CONTEXT|LOCATION|STATEMENT|BACKTRACE):  ")
"""What PostgreSQL adds to the line before."""


class RoutineFilter:
    """Reads the lines of one process in their order."""

    def __init__(self) -> None:
        self._within = False

    def is_routine(self, line: str) -> bool:
        """Whether `line`, or the one that it belongs to, is of interest in the log file only."""
        if not _MORE_OF_IT.match(line):
            self._within = bool(_ROUTINE.search(line))
        return self._within
