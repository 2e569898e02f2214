"""What nodes hand out, made fit to be kept: storable text, and large values as artifacts with a preview (spec W9)."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from contracts.execution import Artifact
from contracts.model import MAX_DEPTH
from contracts.workflow import JsonObject
from runtime.masking import Redactor

ASIDE_BYTES: Final = 262_144
"""As JSON; masking more than this takes longer than a worker's other runs should wait for."""
INLINE_BYTES: Final = 65_536
"""What the outputs of one node, or the result of an execution, may weigh as JSON where they are recorded."""
PREVIEW_CHARS: Final = 1_000
TOO_DEEP: Final = f"… (more than {MAX_DEPTH} levels deep)"
"""In place of the lists and objects that lie deeper."""
REFERENCE: Final = "$artifact"
"""The key by which a recorded value says that it stands for an artifact's content."""

Store = Callable[[str, bytes], Awaitable[Artifact]]
Load = Callable[[str], Awaitable[bytes | None]]


def make_storable(value: Any, levels: int = MAX_DEPTH + 1) -> Any:
    """The value without what JSON, UTF-8, PostgreSQL's text and whoever reads them again can't hold.

    NUL and lone surrogates become U+FFFD, infinite numbers null, and what lies too deep a text that says so.

    Args:
        value: the outputs of a node by name, or one text.
        levels: of lists and objects that it may have; one for the names, and those of each output.
    """
    match value:
        case str():
            return _mend(value)
        case dict() | list() | tuple() if levels == 0:
            return TOO_DEEP
        case dict():
            return {_mend(str(key)): make_storable(item, levels - 1) for key, item in value.items()}
        case list() | tuple():
            return [make_storable(item, levels - 1) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


async def make_clean(outputs: JsonObject, redactor: Redactor) -> JsonObject:
    """Outputs as `make_storable` has them, with all that is secret masked; many of them in a thread."""
    storable: JsonObject = make_storable(outputs)
    large = redactor.armed and len(to_json(storable)) > ASIDE_BYTES
    cleaned: JsonObject = await asyncio.to_thread(redactor.clean, storable) if large else redactor.clean(storable)
    return cleaned


def _mend(text: str) -> str:
    if text.isascii():
        return text.replace("\x00", "\ufffd") if "\x00" in text else text
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


async def shrink(values: JsonObject, store: Store) -> JsonObject:
    """The values with the largest of them replaced by references until the rest fits inline.

    Args:
        values: by name; each a JSON value that `make_storable` has passed.
        store: puts a value's JSON text away under a name and answers the artifact.
    """
    encoded = {name: to_json(value) for name, value in values.items()}
    excess = sum(map(len, encoded.values())) - INLINE_BYTES
    kept = dict(values)
    for name in sorted(encoded, key=lambda name: len(encoded[name]), reverse=True):
        if excess <= 0:
            break
        kept[name] = refer(await store(name, encoded[name]), values[name])
        excess -= len(encoded[name]) - len(to_json(kept[name]))
    return kept


def refer(artifact: Artifact, value: Any) -> JsonObject:
    """What is recorded in place of a value that is kept as an artifact."""
    return {REFERENCE: str(artifact.artifact_id), **_preview(value), "size": artifact.size}


async def expand(values: Mapping[str, Any], load: Load) -> JsonObject:
    """The values with references replaced by what they stand for.

    Args:
        values: as `shrink` answered them.
        load: the JSON text of an artifact, or None where the reference is no reference: a page may say anything.
    """
    expanded: JsonObject = {}
    for name, value in values.items():
        referred = isinstance(value, dict) and isinstance(value.get(REFERENCE), str)
        text = await load(value[REFERENCE]) if referred else None
        expanded[name] = value if text is None else from_json(text)
    return expanded


def describe_lost(values: JsonObject) -> JsonObject:
    """The values with previews in place of those that fit nowhere, because the artifact folder takes nothing."""
    limit = INLINE_BYTES // max(1, len(values))
    return {name: value if len(to_json(value)) <= limit else _preview(value) for name, value in values.items()}


def _preview(value: Any) -> JsonObject:
    text = value if isinstance(value, str) else to_json(value).decode()
    return {"size": len(text.encode()), "preview": text[:PREVIEW_CHARS]}
