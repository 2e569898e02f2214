"""The public document, fuzzed through Traefik by schemathesis with two users of two tenants."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experience.cli.ports import find_free_port
from tests.e2e.conftest import Person, Stack, registered
from tests.e2e.fuzz_hooks import NOTES

Note = tuple[str, int, str]
"""Operation, status, and what a late answer said."""

SECONDS = 45
CHECKS_LEFT_OUT = "positive_data_acceptance"
"""A cursor, a cron line or a realm may fit the schema and still mean nothing; 422 is the right answer to those."""
LATE = (503, 504)
CONFIGURATION = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503, 504]\n'
"""503 and 504 are what the document promises when a tier does not answer in time, as on a machine that pauses. How many
of them there may be, and of which operations, is looked at afterwards."""
LATE_SHARE, LATE_ANSWERS = 0.03, 10
"""More than both of these is no pause: whoever waits for a tier that stands still gets few answers in that time."""
HANGS = 3
"""Answers of an operation that are all late; it is asked once more by itself, after the pause if it was one."""
FAULTS = (
    "answered something that its declaration does not allow",
    "handler failed",
    "a socket's task failed",
    "failed in a way it should not",
    "Exception in ASGI application",
    "exception was never retrieved",
)
"""What the tiers' logs say where one does not keep to the contract (its caller gets a 503), and of errors that nobody
has foreseen; a traceback alone may tell of a database that paused."""
OPERATIONS_LEFT_OUT = "log_out"
"""It would end what the others are called with."""


async def create_key(person: Person) -> str:
    answer = await person.http.post("/api/auth/keys", json={"name": "fuzz"}, headers=person.bearer)
    secret: str = answer.json()["secret"]
    return secret


async def test_nothing_that_fits_or_breaks_the_document_breaks_the_server(
    tmp_path: Path,
) -> None:
    # a stack of its own: thousands of wrong passwords make everybody at this address wait
    stack = Stack(find_free_port(), tmp_path / "data", extra=("--no-demo",))
    stack.start()
    try:
        async with registered(stack) as person, registered(stack) as stranger:
            users = {"person": await create_key(person), "stranger": await create_key(stranger)}
        notes = fuzz(stack, users, tmp_path / "notes")
        late = [(name, words) for name, status, words in notes if status in LATE]
        assert len(late) <= max(LATE_ANSWERS, LATE_SHARE * len(notes)), late
        if hanging := find_hanging(notes):
            again = find_hanging(fuzz(stack, users, tmp_path / "again", only=hanging))
            assert not again, "nothing of theirs comes in time, also when they alone are asked"
    finally:
        stack.stop()
    said = [line for log in (stack.data / "logs").glob("*.log") for line in log.read_text().splitlines()]
    assert said, "there are logs"
    assert not [line for line in said if any(fault in line for fault in FAULTS)]


def test_an_operation_hangs_that_never_answers_in_time() -> None:
    paused: list[Note] = [("GET /a", 504, ""), ("GET /a", 200, ""), ("GET /a", 503, ""), ("GET /b", 504, "")]
    assert find_hanging([*paused, *[("GET /c", 504, "")] * HANGS]) == ["GET /c"]


def find_hanging(notes: Sequence[Note]) -> list[str]:
    """Operations that answered a few times and never in time."""
    by_name: dict[str, list[bool]] = {}
    for name, status, _ in notes:
        by_name.setdefault(name, []).append(status in LATE)
    return [name for name, late in by_name.items() if len(late) >= HANGS and all(late)]


def fuzz(stack: Stack, users: dict[str, str], folder: Path, only: Sequence[str] = ()) -> list[Note]:
    """Every operation or some of them; answers what each call was answered with."""
    folder.mkdir()
    noted = folder / "answers.jsonl"
    lines = ["auth:"]
    for name, key in users.items():
        lines += [f"- name: {name}", "  fixedHeaders:", "  - name: Authorization", f"    value: Bearer {key}"]
    credentials = folder / "users.yaml"
    credentials.write_text("\n".join(lines))
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={configuration}",
        "--no-color",
        "run",
        f"{stack.url}/api/openapi.json",
        f"--auth-wfc={credentials}",
        f"--max-time={SECONDS}",
        "--max-examples=6",
        "--request-timeout=60",
        "--continue-on-failure",
        f"--exclude-checks={CHECKS_LEFT_OUT}",
        f"--exclude-operation-id={OPERATIONS_LEFT_OUT}",
        "--generation-database=none",
        *(f"--include-name={name}" for name in only),
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.e2e.fuzz_hooks", NOTES: str(noted)}
    done = subprocess.run(command, env=os.environ | hooks, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    return [tuple(json.loads(line)) for line in noted.read_text().splitlines()]
