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
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    found: str
    [found] = [body for _, body in BLOCKS if text in body]
    return found


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
    lines = [line for line in block_with("stagedoor up").splitlines() if line]
    for line in lines:
        words = line.split("#")[0].split()[3:]
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


def test_the_curl_commands_work(stack: Stack, shop: str) -> None:
    script = block_with("/api/intent/catalogue").replace("localhost:8080", f"localhost:{stack.port}")
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        env=os.environ | {"SHOP": shop},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '"realm":"browser"' in done.stdout
    assert '"execution_id":"' in done.stdout, done.stdout


async def test_the_first_calls_of_the_apis_own_page_work(stack: Stack, shop: str) -> None:
    async with httpx.AsyncClient(base_url=f"http://localhost:{stack.port}") as http:
        page = (await http.get("/api/docs")).text
    shown = re.search(r"<pre tabindex=0><code>(.*?)</code></pre>", page, re.DOTALL)
    assert shown is not None
    script = unescape(shown[1]).replace("localhost:8080", f"localhost:{stack.port}")
    done = await asyncio.create_subprocess_exec(
        "sh",
        "-eu",
        "-c",
        script.replace("https://example.com", shop),
        env=os.environ | {"EMAIL": OWNER, "PASSWORD": PASSWORD},
        stdout=subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(done.communicate(), 60)
    assert done.returncode == 0
    assert json.loads(printed)["execution_id"]


async def test_the_workflow_of_ones_own_is_kept_and_runs(
    stack: Stack, shop: str, person: Person, tmp_path: Path
) -> None:
    script = block_with("headline.json").replace("localhost:8080", f"localhost:{stack.port}")
    done = await asyncio.create_subprocess_exec(
        "sh",
        "-eu",
        "-c",
        script,
        cwd=tmp_path,
        env=os.environ | {"TOKEN": str(person.grant.access_token), "SHOP": shop},
        stdout=subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(done.communicate(), 60)
    assert done.returncode == 0
    execution = await wait_for_end(person, ExecutionId(UUID(printed.decode().strip())))
    assert execution.status.value == "completed"
    assert execution.result is not None
    assert execution.result["headline"]["Text"]


async def test_the_commands_about_going_on_work(stack: Stack, shop: str, person: Person) -> None:
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
    script = block_with("/api/intent/pending").replace("localhost:8080", f"localhost:{stack.port}")
    done = await asyncio.create_subprocess_exec(
        "sh",
        "-eu",
        "-c",
        script.replace("\n\n", "\n"),
        env=os.environ | {"TOKEN": str(person.grant.access_token), "ID": str(failed)},
        stdout=subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(done.communicate(), 60)
    assert done.returncode == 0
    text = printed.decode()
    assert text.startswith('{"items":[')
    assert "This execution asks nothing." in text
    retried = ExecutionId(UUID(json.loads(text[text.rindex('{"intent_id"') :])["execution_id"]))
    again = await wait_for_end(person, retried)
    assert (again.status.value, str(again.retry_of)) == ("failed", str(failed))
    assert [one.node_id for one in again.nodes if one.status.value == "success"] == ["open", "html"]


async def test_the_python_snippet_works(
    stack: Stack, person: Person, shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = block_with("async def watch").replace("localhost:8080", f"localhost:{stack.port}")
    names: dict[str, object] = {}
    exec(code, names)
    asked = {"realm": "browser", "intent": "visit", "parameters": {"url": shop, "selector": "h1"}}
    answer = await person.http.post("/api/intent", json=asked, headers=person.bearer)
    await names["watch"](answer.json()["execution_id"], person.grant.access_token)  # type: ignore[operator]
    # servers of other tests in this process may log meanwhile
    printed = [line for line in capsys.readouterr().out.splitlines() if re.fullmatch(r"(None|\d+) \w+", line)]
    assert printed[0] == "None hello"
    assert printed[-1].endswith("completion")
