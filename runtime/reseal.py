"""Changing a key: everything that is sealed comes under the first key of the file (spec I4).

1. Write the new key as the first line of the key file, above the old one, and restart Runtime: new things are sealed
   with the new one, old ones still open.
2. `python -m runtime reseal`.
3. Take the old line out, and restart Runtime.

Of credentials and browser profiles only their data keys are wrapped anew; no value is opened.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from runtime.profiles import place_of as place_of_profile
from runtime.run.checkpoints import place_of as place_of_checkpoint
from runtime.seal import Seal, SealBroken
from runtime.store.sealed import BROWSER_PROFILES, CHECKPOINTS, CREDENTIALS, Kind, SealedRows
from runtime.vault import place_of as place_of_credential

log = structlog.get_logger()


@dataclass(frozen=True)
class Resealed:
    """What was done."""

    changed: int
    broken: int
    """What none of the keys opens; it was left as it is."""

    @property
    def whole(self) -> bool:
        """Whether the other keys are needed no more."""
        return self.broken == 0

    @property
    def message(self) -> str:
        """For whoever changes the key."""
        if self.whole:
            return f"{self.changed} sealed anew. Only the first key of the file is needed now."
        return (
            f"{self.changed} sealed anew; {self.broken} can't be opened with any key of the file. Put back the key "
            "that sealed them and repeat this, or make those anew; the log names them."
        )


async def reseal_all(rows: SealedRows, seal: Seal) -> Resealed:
    """Bring everything under the first key. Raises DatabaseAway; what was done until then stays done."""
    changed = broken = 0
    kinds = (
        (CREDENTIALS, _rewrap(seal, _place_credential)),
        (BROWSER_PROFILES, _rewrap(seal, _place_profile)),
        (CHECKPOINTS, _reseal(seal)),
    )
    for kind, reseal in kinds:
        counted = _Counting(kind, reseal)
        changed += await rows.reseal(kind, counted)
        broken += counted.broken
    return Resealed(changed, broken)


class _Counting:
    """Counts what does not open, in place of ending at it."""

    def __init__(self, kind: Kind, reseal: Callable[[Any], bytes | None]) -> None:
        self.broken = 0
        self._kind = kind
        self._reseal = reseal

    def __call__(self, row: Any) -> bytes | None:
        try:
            return self._reseal(row)
        except SealBroken as error:
            self.broken += 1
            log.warning("can't be sealed anew", kind=self._kind.name, key=row.key, reason=str(error))
            return None


def _rewrap(seal: Seal, place: Callable[[Any], str]) -> Callable[[Any], bytes | None]:
    def rewrap(row: Any) -> bytes | None:
        return seal.rewrap(row.sealed, place(row))

    return rewrap


def _place_credential(row: Any) -> str:
    return place_of_credential(row.tenant_id, row.credential_id, row.version)


def _place_profile(row: Any) -> str:
    return place_of_profile(row.tenant_id, row.name, row.state_id)


def _reseal(seal: Seal) -> Callable[[Any], bytes | None]:
    def reseal(row: Any) -> bytes | None:
        return seal.reseal(row.sealed, place_of_checkpoint(row.execution_id, row.node_id, row.page))

    return reseal
