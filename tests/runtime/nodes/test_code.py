"""The node that runs code, in a sandbox that is really there."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.execution import FailureCode
from runtime.node import NodeFailure
from runtime.nodes.code import RunCode
from runtime.sandbox.landlock import Landlock
from runtime.sandbox.sandbox import BACKENDS, Sandbox
from tests.runtime.nodes.stage import MemoryStage


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(for_others=os.geteuid() == 0)
    yield made
    made.close()


@pytest.fixture
def stage(sandbox: Sandbox) -> MemoryStage:
    return MemoryStage(sandbox=sandbox)


async def run(stage: MemoryStage, code: str, **inputs: Any) -> dict[str, Any]:
    return await RunCode().perform({"Code": code, **inputs}, stage)


async def fail(stage: MemoryStage, code: str, **inputs: Any) -> NodeFailure:
    with pytest.raises(NodeFailure) as caught:
        await run(stage, code, **inputs)
    assert not caught.value.retryable
    assert caught.value.hint
    return caught.value


async def test_python_sets_a_result(stage: MemoryStage) -> None:
    outputs = await run(stage, "print('counting')\nresult = sum(inputs['prices'])", Inputs={"prices": [1, 2.5]})
    assert outputs == {"Result": 3.5, "Stdout": "counting\n", "Stderr": ""}
    assert stage.lines == [("info", "counting")]


async def test_each_call_is_noted(stage: MemoryStage) -> None:
    await run(stage, "print('so')", Inputs="[1]")
    await fail(stage, "1 / 0", Language="python")
    one, two = stage.tools[-2:]
    assert (one.tool, one.what, one.outcome, one.sent) == ("run_code", "python", "ok", len("print('so')[1]"))
    assert one.received == len('so\n{"result": null}')
    assert (two.outcome, two.node_id) == ("code_failed", stage.node_id)
    nowhere = MemoryStage(sandbox=Sandbox(backends=(), for_others=False))
    await fail(nowhere, "result = 1")
    assert [use.outcome for use in nowhere.tools] == ["sandbox_unavailable"]
    nowhere.sandbox.close()


async def test_javascript_returns_one(stage: MemoryStage) -> None:
    code = "console.error('odd'); return inputs.map((n) => n * 2)"
    outputs = await run(stage, code, Language="javascript", Inputs="[1, 2]")
    assert outputs == {"Result": [2, 4], "Stdout": "", "Stderr": "odd\n"}
    assert stage.lines == [("warning", "odd")]


async def test_an_error_is_told_with_its_last_lines_and_what_was_printed(stage: MemoryStage) -> None:
    failure = await fail(stage, "print('so far')\nprice = {}\nprice['eur']")
    assert failure.code is FailureCode.CODE_FAILED
    assert 'File "code.py", line 3' in failure.message
    first, *_, last = failure.message.splitlines()
    assert first == last == "KeyError: 'eur'", "what was raised comes first, for who reads one line"
    failure = await fail(stage, "result = (")
    assert failure.message.splitlines()[0].startswith("SyntaxError: ")
    assert stage.lines == [("info", "so far")]
    failure = await fail(stage, "throw new Error('no stock')", Language="javascript")
    assert (failure.code, failure.message.count("Error: no stock")) == (FailureCode.CODE_FAILED, 1)


async def test_code_that_wants_the_network_is_told_where_to_fetch_instead(stage: MemoryStage) -> None:
    fetch = "import urllib.request; urllib.request.urlopen('https://example.com')"
    failure = await fail(stage, fetch)
    assert "http_request" in failure.hint
    look_up = "await require('dns').promises.lookup('example.com')"
    failure = await fail(stage, look_up, Language="javascript")
    assert "http_request" in failure.hint


@pytest.mark.parametrize(
    ("code", "code_of_failure", "said"),
    [
        ("import time; time.sleep(60)", FailureCode.CODE_TIMEOUT, "within 1.5 s"),
        ("bytearray(3 << 30)", FailureCode.CODE_LIMIT, "memory"),
        ("while True: print('x' * 9999)", FailureCode.CODE_LIMIT, "output"),
        ("result = 'x' * (5 << 20)", FailureCode.CODE_LIMIT, "result"),
        ("result = object()", FailureCode.CODE_FAILED, "not JSON serializable"),
        ("import os; os._exit(3)", FailureCode.CODE_FAILED, "status 3"),
        ("import os; os.write(3, b'\\0\\0\\0\\1{'); os._exit(0)", FailureCode.CODE_FAILED, "can't be read"),
        ("result = (", FailureCode.CODE_FAILED, "SyntaxError"),
    ],
)
async def test_ends_that_are_none(stage: MemoryStage, code: str, code_of_failure: FailureCode, said: str) -> None:
    failure = await fail(stage, code, Timeout=1.5 if "sleep" in code else 20)
    assert failure.code is code_of_failure, failure
    assert said in failure.message


async def test_the_nodes_own_time_limit_comes_after_the_codes(sandbox: Sandbox) -> None:
    stage = MemoryStage(sandbox=sandbox, seconds=8)
    failure = await fail(stage, "print('begun', flush=True)\nimport time; time.sleep(60)")
    assert failure.code is FailureCode.CODE_TIMEOUT
    assert stage.lines == [("info", "begun")]


async def test_the_log_gets_the_first_lines(stage: MemoryStage) -> None:
    outputs = await run(stage, "for n in range(60): print(n)")
    assert outputs["Stdout"].count("\n") == 60
    assert [line for _, line in stage.lines][-2:] == ["49", "… 10 more lines"]


async def test_nothing_is_run_without_a_sandbox() -> None:
    sandbox = Sandbox(backends=(), for_others=False)
    failure = await fail(MemoryStage(sandbox=sandbox), "result = 1")
    assert failure.code is FailureCode.SANDBOX_UNAVAILABLE
    assert "apt-get install bubblewrap" in failure.hint
    sandbox.close()


async def test_inputs_are_checked_before(stage: MemoryStage) -> None:
    for wrong in ({"Timeout": 61}, {"Timeout": 0}, {"Language": "ruby"}, {"Code": ""}):
        with pytest.raises(NodeFailure) as caught:
            await RunCode().perform({"Code": "x = 1", **wrong}, stage)
        assert caught.value.code is FailureCode.INVALID_INPUT


def test_the_backends_stand_in_their_order() -> None:
    assert [backend.name for backend in BACKENDS] == ["bwrap", "bwrap-noproc", "landlock"]
    assert [backend.isolates for backend in BACKENDS] == [True, True, Landlock().isolates] == [True, True, False]
