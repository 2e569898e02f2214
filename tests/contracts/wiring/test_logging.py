"""What a line of the log says, and what it never says."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from contracts.wiring.logging import bind_caller, configure
from contracts.wiring.tracing import in_trace
from experience.auth.opaque import GUEST, INVITATION, LINK, REFRESH, TICKET, mint, write_key

TENANT = UUID(int=7)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def told(act: Callable[[Any], None], fmt: Any = "json") -> str:
    stream = io.StringIO()
    configure("test", fmt, stream=stream)
    act(structlog.get_logger())
    return stream.getvalue()


def test_a_line_says_where_it_belongs() -> None:
    with in_trace(None) as trace:
        bind_caller(TENANT, None)
        line = json.loads(told(lambda log: log.info("hello", execution_id="e")))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "hello",
        "level": "info",
        "service": "test",
        "execution_id": "e",
        "tenant_id": str(TENANT),
        "user_id": None,
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
    }


def test_a_librarys_line_says_it_too() -> None:
    with in_trace(None) as trace:
        bind_caller(TENANT, UUID(int=1))
        line = json.loads(told(lambda _: logging.getLogger("library").warning("odd")))
    assert (line["event"], line["trace_id"], line["user_id"]) == ("odd", trace.trace_id, str(UUID(int=1)))


def test_a_person_at_a_terminal_sees_words() -> None:
    with in_trace(None) as trace:
        bind_caller(TENANT, None)
        line = told(lambda log: log.info("hello", ms=3), "console")
    assert "hello" in line
    assert "ms=3" in line
    assert str(TENANT) in line
    assert trace.trace_id not in line
    assert "None" not in line


SECRETS = [mint(prefix) for prefix in (REFRESH, GUEST, INVITATION, LINK, TICKET)]
SECRETS += [write_key(UUID(int=5), mint()), "eyJhbGciOiJFZERTQSJ9.eyJzaWQiOiIxIn0.c2lnbmF0dXJl"]


@pytest.mark.parametrize("secret", SECRETS, ids=[one[:3] for one in SECRETS])  # alike in every process
def test_a_credential_is_known_by_its_shape(secret: str) -> None:
    def fail(log: Any) -> None:
        try:
            int(f"what to do with {secret}?")
        except ValueError:
            log.exception("failed", given=secret)

    for fmt in ("json", "console"):
        text = told(fail, fmt)
        assert secret not in text
        assert secret.rpartition(".")[2] not in text
        assert "failed" in text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("GET /api/x?token=s3cret&after=3", "after=3"),
        ("Authorization: Bearer s3cret", "Authorization: Bearer"),
        ("postgresql://someone:s3cret@db/stagedoor", "@db/stagedoor"),
        ("cookie: a=b; __Host-stagedoor=s3cret; c=d", "c=d"),
        ("/sign-in?code=s3cret", "/sign-in?code="),
    ],
)
def test_what_stands_where_secrets_stand_is_left_out(said: str, kept: str) -> None:
    line = told(lambda log: log.info(said))
    assert "s3cret" not in line
    assert kept in json.loads(line)["event"]


def test_ordinary_words_stay() -> None:
    said = "run 3 of 0193a1f0-0000-7000-8000-000000000001 took 1.5 s at http://127.0.0.1:8080/x?after=2 (ss_short, sd_)"
    assert json.loads(told(lambda log: log.info(said)))["event"] == said
