"""Loaded by schemathesis: keeps out what Traefik refuses, before anybody of ours is asked, and notes all answers."""

import json
import os
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response

NOTES = "STAGEDOOR_FUZZ_NOTES"
"""Environment variable: the file that gets a line for each answer."""

REFUSED_ENCODED = frozenset("/\\%?#;\x00")
"""Traefik answers 400 to these when they come encoded in a path (tests/traefik drives that)."""


@schemathesis.hook
def filter_path_parameters(_context: HookContext, path_parameters: dict[str, Any] | None) -> bool:
    return not any(REFUSED_ENCODED & set(str(value)) for value in (path_parameters or {}).values())


@schemathesis.hook
def after_call(_context: HookContext, case: Case[Any], response: Response) -> None:
    """Status and operation of each; of what came too late also the words."""
    words = response.text if response.status_code in (503, 504) else ""
    with Path(os.environ[NOTES]).open("a") as notes:
        print(json.dumps([case.operation.label, response.status_code, words]), file=notes)
