"""The first five minutes with nothing stood in for: the link, the demo, the end, the second start."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.errors import ApiError, Code
from contracts.execution import ExecutionRef, ExecutionStatus, ExecutionSummary, ListExecutions
from contracts.identity import ChangePassword, LogIn, RedeemSignInLink
from contracts.wiring.client import PublicClient, connect_public
from contracts.workflow import ListWorkflows
from tests.experience.cli.conftest import Stack, StartStack
from tests.support.tab import open_tab

READY = "Stagedoor is ready"
DEMO_TIMEOUT_S = 90
ENDED = {ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED}

pytestmark = pytest.mark.timeout(400)


def read_link(stack: Stack) -> str:
    stack.read_until(READY)
    stack.read_until("/enter")
    return stack.lines[-1].strip()


def ask_for_link(stack: Stack) -> "subprocess.CompletedProcess[str]":
    """As a person does in a second terminal."""
    command = [sys.executable, "-m", "experience.cli", "link", "--data", str(stack.data)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def find_browsers(data: Path) -> list[str]:
    """Chromiums get none of our environment; their profiles are in our folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if f"{data}/scratch" in command:
            found.append(command.replace("\0", " "))
    return found


async def wait_until_no_browser_is_left(data: Path) -> None:
    deadline = time.monotonic() + 60
    while left := find_browsers(data):
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.1)


@asynccontextmanager
async def sign_in(stack: Stack) -> AsyncIterator[PublicClient]:
    owner = json.loads((stack.data / "admin.json").read_text())
    headers: dict[str, str] = {}
    async with connect_public(f"http://localhost:{stack.port}", lambda: headers) as client:
        grant = await client.log_in(LogIn(email=owner["email"], password=owner["password"]))
        headers["Authorization"] = f"Bearer {grant.access_token}"
        yield client


async def wait_for_end(client: PublicClient) -> ExecutionSummary:
    """Of the one execution that there is."""
    deadline = time.monotonic() + DEMO_TIMEOUT_S
    while True:
        [found] = (await client.list_executions(ListExecutions())).items
        if found.status in ENDED:
            return found
        assert time.monotonic() < deadline, f"still {found.status} at {found.current_node}"
        await asyncio.sleep(0.5)


async def test_the_first_five_minutes(start_stack: StartStack) -> None:
    stack = start_stack(real=True, initialised=False)
    link = read_link(stack)
    execution_id = re.search(r"/executions/([0-9a-f-]{36})", link)
    assert execution_id, "the link leads to the demo at work"
    assert [line for line in stack.lines if line.startswith(("shop", "migrate-"))] == [], "routine is hidden"

    async with open_tab() as tab:
        await tab.goto(link)
        await tab.wait_for_url(f"**/executions/{execution_id[1]}")
        await tab.get_by_role("heading", name="Demo: buy a ghost light").first.wait_for()

    async with sign_in(stack) as client:
        with pytest.raises(ApiError) as used:
            await client.redeem_link(RedeemSignInLink(code=link.rsplit("#", 1)[1]))
        assert used.value.code is Code.UNAUTHENTICATED, "a link works once"

        again = ask_for_link(stack)
        assert (again.returncode, again.stdout.count("\n")) == (0, 1), again
        assert again.stdout.startswith(f"http://localhost:{stack.port}/enter")
        await client.redeem_link(RedeemSignInLink(code=again.stdout.strip().rsplit("#", 1)[1], transport="token"))

        ended = await wait_for_end(client)
        assert (str(ended.execution_id), ended.status) == (execution_id[1], ExecutionStatus.COMPLETED)
        steps = await client.get_steps(ExecutionRef(execution_id=ended.execution_id))
        [number] = [step.outputs for step in steps.items if step.node_id == "read_number"]
        assert number
        assert re.fullmatch(r"PR-\d+", number["Text"])


async def test_the_second_start_and_its_end_with_a_browser_at_work(start_stack: StartStack) -> None:
    first = start_stack(real=True)
    read_link(first)
    async with sign_in(first) as client:
        [workflow] = (await client.list_workflows(ListWorkflows())).items
    first.interrupt()

    second = start_stack(data=first.data, port=first.port, real=True)
    link = read_link(second)
    async with sign_in(second) as client:
        assert (await client.list_workflows(ListWorkflows())).items == [workflow], "the demo is there once"
        assert len((await client.list_executions(ListExecutions())).items) == 2
        deadline = time.monotonic() + DEMO_TIMEOUT_S
        while not find_browsers(second.data):
            assert time.monotonic() < deadline, "no browser was started"
            await asyncio.sleep(0.1)
    second.process.kill()
    second.process.wait()
    await wait_until_no_browser_is_left(second.data)

    third = start_stack(data=first.data, port=first.port, real=True, patience=80)
    read_link(third)
    async with sign_in(third) as client:
        await client.redeem_link(RedeemSignInLink(code=link.rsplit("#", 1)[1], transport="token"))
        owner = json.loads((third.data / "admin.json").read_text())
        changed = ChangePassword(current_password=owner["password"], new_password="another one entirely")
        await client.change_password(changed)
    assert third.interrupt() < 60
    assert "killing it" not in third.read_rest()
    await wait_until_no_browser_is_left(third.data)

    fourth = start_stack(data=first.data, port=first.port, real=True)
    fourth.read_until("another password by now")
    fourth.read_until(f"http://localhost:{fourth.port}/sign-in")
    refused = ask_for_link(fourth)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "another password by now" in refused.stderr
    assert f"http://localhost:{fourth.port}/sign-in" in refused.stderr
