"""Python's garbage collector in processes that serve for long."""

import gc
from typing import Final

_YOUNG: Final = 10_000
"""Objects made since the last look for garbage that cause the next. A few dozen requests under way are past Python's
own number (700 up to 3.13) all the time: what they hold would be taken for old, and all that is old looked through."""


def spare_collector() -> None:
    """Call it late in the set-up: what is there by then, most of it code, stays, and is not looked through any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
