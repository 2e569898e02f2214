"""Python's garbage collector in processes that serve for long."""

import gc
from typing import Final

_YOUNG: Final = 10_000
"""Objects made since the last look for garbage that cause the next. A few dozen requests under way are past Python's
own 700 at any time: what they hold would be taken for old, and the old ones looked through again and again."""


def spare_collector() -> None:
    """Call it when all is set up: what is there by then stays until the end, and is not looked through any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
