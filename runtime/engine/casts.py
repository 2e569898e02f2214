"""Which output may feed which input, and what a value becomes on the way (spec W2)."""

from typing import Any, Literal

from contracts.workflow import DataType

Cast = Literal["text"]
"""The only conversion an edge makes; every other allowed pair passes the value as it is."""

OPAQUE = frozenset({DataType.BROWSER_INSTANCE, DataType.CREDENTIAL, DataType.CONDITIONAL})
"""Types that never become data and that no data becomes."""

_TO_TEXT = frozenset({DataType.NUMBER, DataType.BOOLEAN})


def may_connect(source: DataType, target: DataType) -> bool:
    """Whether an edge from an output of type `source` may end in an input of type `target`."""
    if source is target:
        return True
    if source in OPAQUE or target in OPAQUE:
        return False
    if DataType.ANY in (source, target) or target is DataType.JSON:
        return True
    return target is DataType.STRING and (source in _TO_TEXT or source is DataType.HTML)


def choose_cast(source: DataType, target: DataType) -> Cast | None:
    """How values of an allowed connection are converted; None means not at all."""
    return "text" if target is DataType.STRING and source in _TO_TEXT else None


def apply_cast(cast: Cast | None, value: Any) -> Any:
    """The value as the target gets it: numbers without a needless fraction, booleans as `true` and `false`."""
    if cast is None or isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
