"""Every command and snippet of the README, run as it is printed (but for the port)."""

import asyncio
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from contracts.model import ExecutionId
from tests.e2e.conftest import OWNER, PASSWORD, Person, Stack
from tests.e2e.work import edge, node, start, wait_for_end

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
OF_A_PROGRAM = re.findall(r"```sh\n(.*?)```", README.split("## Use it from a program")[1].split("\n## ")[0], re.DOTALL)
"""What a reader pastes one after the other into one shell, beside `make run`."""

pytestmark = pytest.mark.timeout(400)


def block_with(text: str) -> str:
    found: str
    [found] = [body for body in BLOCKS if text in body]
    return found


def aim(script: str, stack: Stack) -> str:
    """The script for the stack of the tests, and for the Python that runs them."""
    return script.replace("localhost:8080", f"localhost:{stack.port}").replace(".venv/bin/python", sys.executable)


async def run(script: str, folder: Path, **environment: str) -> str:
    """Have a shell run what is pasted into it; the first command that fails or variable that is not set ends it."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-eu",
        "-c",
        script,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    printed, complained = await asyncio.wait_for(process.communicate(), 200)
    assert process.returncode == 0, complained.decode()
    return printed.decode()


def test_every_make_target_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z0-9]+)", README))
    assert {"run", "test", "check"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_the_files_it_links_to_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_command_line_takes_what_it_says() -> None:
    lines = block_with("stagedoor up").splitlines()
    assert lines
    for line in lines:
        words = line.split("stagedoor ")[1].split()
        asked = [word for word in words if word.startswith("--")]
        command = [word for word in words[:1] if not word.startswith("--")]
        shown = subprocess.run(
            [sys.executable, "-m", "experience.cli", *command, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        ).stdout
        assert [option for option in asked if option not in shown] == [], line


def test_what_is_pasted_holds_no_comment() -> None:
    """The shell of a Mac takes them for words: an apostrophe in one waits for the next, and curl asks for all of it."""
    assert [line for body in BLOCKS for line in body.splitlines() if re.search(r"(^|\s)#", line)] == []


async def test_all_of_it_can_be_pasted_in_order(stack: Stack, tmp_path: Path) -> None:
    """Into one shell, in the folder of `make run`, with nothing set beforehand."""
    (tmp_path / ".stagedoor").symlink_to(stack.data)
    script = "\necho '== next =='\n".join(OF_A_PROGRAM)
    printed = (await run(aim(script, stack), tmp_path)).split("== next ==\n")
    account, asked, kept, watched, going_on = printed
    assert account == ""
    assert '"realm":"browser"' in asked
    assert '"execution_id":"' in asked
    assert str(UUID(kept.strip())) == kept.strip()
    frames = watched.splitlines()
    assert frames[0] == "None hello"
    assert frames[-1].endswith("completion")
    assert going_on.startswith('{"items":[')
    assert "This execution asks nothing." in going_on
    assert going_on.count('"status":409') == 2, going_on


async def test_the_first_calls_of_the_apis_own_page_work(stack: Stack, shop: str, tmp_path: Path) -> None:
    async with httpx.AsyncClient(base_url=f"http://localhost:{stack.port}", timeout=60) as http:
        page = (await http.get("/api/docs")).text
    shown = re.search(r"<pre tabindex=0><code>(.*?)</code></pre>", page, re.DOTALL)
    assert shown is not None
    script = aim(unescape(shown[1]), stack).replace("https://example.com", shop)
    printed = await run(script, tmp_path, EMAIL=OWNER, PASSWORD=PASSWORD)
    assert json.loads(printed)["execution_id"]


async def test_the_commands_about_going_on_work(stack: Stack, shop: str, person: Person, tmp_path: Path) -> None:
    """On an execution that failed and asks nothing: the retry is taken, the answer is refused with the reason."""
    document = {
        "name": "Misses",
        "nodes": [
            node("open", "launch_standard_browser", Website_URL=shop),
            node("text", "get_text_from_html", Selector="#no-such-thing"),
            node("html", "get_html"),
        ],
        "edges": [edge("open", "html"), edge("html", "text", "Html Content", "Html")],
    }
    failed = await start(person, document)
    assert (await wait_for_end(person, failed)).status.value == "failed"
    script = aim(block_with("/api/intent/pending"), stack)
    text = await run(script, tmp_path, TOKEN=str(person.grant.access_token), ID=str(failed))
    assert text.startswith('{"items":[')
    assert "This execution asks nothing." in text
    retried = ExecutionId(UUID(json.loads(text[text.rindex('{"intent_id"') :])["execution_id"]))
    again = await wait_for_end(person, retried)
    assert (again.status.value, str(again.retry_of)) == ("failed", str(failed))
    assert [one.node_id for one in again.nodes if one.status.value == "success"] == ["open", "html"]
