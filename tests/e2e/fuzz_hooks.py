"""Loaded by schemathesis: keeps out what Traefik refuses by itself, before anybody of ours is asked."""

from typing import Any

import schemathesis
from schemathesis import HookContext

REFUSED_ENCODED = frozenset("/\\%?#;\x00")
"""Traefik answers 400 to these when they come encoded in a path (tests/traefik drives that)."""


@schemathesis.hook
def filter_path_parameters(_context: HookContext, path_parameters: dict[str, Any] | None) -> bool:
    return not any(REFUSED_ENCODED & set(str(value)) for value in (path_parameters or {}).values())
