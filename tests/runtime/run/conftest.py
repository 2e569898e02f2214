"""What tests of runs share."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from contracts.wiring.logging import configure
from runtime.masking import scrub


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What this process logs, as a process of Runtime writes it."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure("runtime", "json", stream=stream, scrub=scrub)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
