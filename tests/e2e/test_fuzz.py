"""The public document, fuzzed through Traefik by schemathesis with two users of two tenants."""

import os
import subprocess
import sys
from pathlib import Path

from experience.cli.ports import find_free_port
from tests.e2e.conftest import Person, Stack, registered

SECONDS = 45
CHECKS_LEFT_OUT = "positive_data_acceptance"
"""A cursor, a cron line or a realm may fit the schema and still mean nothing; 422 is the right answer to those."""
CONFIGURATION = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503, 504]\n'
"""503 and 504 are what the document promises when a tier does not answer in time, as on a machine that pauses."""
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
        fuzz(stack, users, tmp_path)
    finally:
        stack.stop()


def fuzz(stack: Stack, users: dict[str, str], tmp_path: Path) -> None:
    lines = ["auth:"]
    for name, key in users.items():
        lines += [f"- name: {name}", "  fixedHeaders:", "  - name: Authorization", f"    value: Bearer {key}"]
    credentials = tmp_path / "users.yaml"
    credentials.write_text("\n".join(lines))
    configuration = tmp_path / "schemathesis.toml"
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
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.e2e.fuzz_hooks"}
    done = subprocess.run(command, env=os.environ | hooks, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
