"""What code can do in the sandbox: it is no use where nothing works."""

import pytest

from tests.runtime.sandbox.confinement import Confinement, Driver, read

POOL = """
import multiprocessing
with multiprocessing.get_context('fork').Pool(2) as pool:
    result = pool.map(abs, [-1, 2])
"""
CHILD = """
import subprocess, sys
done = subprocess.run([sys.executable, '-I', '-S', '-c', 'print(5)'], capture_output=True, text=True)
result = done.stdout
"""
SQLITE = """
import sqlite3, os
result = sqlite3.connect(os.environ['TMPDIR'] + '/d').execute('select 6').fetchone()[0]
"""
FILE = """
import tempfile
with tempfile.TemporaryFile('w+') as file:
    file.write('x'); file.seek(0)
    result = file.read()
"""
LIBRARY = """
import csv, datetime, decimal, hashlib, html.parser, json, math, random, re, statistics, time, urllib.parse, uuid
import secrets, zlib, zoneinfo
result = statistics.mean([1, 3])
"""
PYTHON = {
    "inputs and result": (
        "result = {'sum': inputs['a'] + 1, 'ü': [None, True, 1.5, 'é']}",
        {"sum": 3, "ü": [None, True, 1.5, "é"]},
    ),
    "nothing": ("x = 1", None),
    "exit": ("import sys; result = 3; sys.exit(0)", 3),
    "asyncio": ("import asyncio\nasync def f(): await asyncio.sleep(0.01); return 4\nresult = asyncio.run(f())", 4),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor as T\nresult = list(T(4).map(abs, [-1, 2]))",
        [1, 2],
    ),
    "processes": (POOL, [1, 2]),
    "child processes": (CHILD, "5\n"),
    "sqlite": (SQLITE, 6),
    "files of its own": (FILE, "x"),
    "the standard library": (LIBRARY, 2),
}
NODE_FILE = """
const fs = require('fs');
const file = process.env.TMPDIR + '/x';
fs.writeFileSync(file, '5');
return fs.readFileSync(file, 'utf8');
"""
NODE_WORKER = """
const { Worker } = require('worker_threads');
const code = 'require("worker_threads").parentPort.postMessage(6)';
return await new Promise((go) => new Worker(code, { eval: true }).on('message', go));
"""
NODE_LIBRARY = """
const digest = require('crypto').createHash('md5').update('').digest('hex');
return digest.length + require('zlib').gzipSync('x').length * 0;
"""
NODE = {
    "inputs and result": ("return {sum: inputs.a + 1}", {"sum": 3}),
    "nothing": ("", None),
    "await": ("await new Promise((go) => setTimeout(go, 10)); return 4", 4),
    "files of its own": (NODE_FILE, "5"),
    "a worker": (NODE_WORKER, 6),
    "a child": ("return require('child_process').execFileSync(process.execPath, ['-p', '7']).toString()", "7\n"),
    "modules": ("const { basename } = await import('node:path'); return basename('/a/b')", "b"),
    "crypto and zlib": (NODE_LIBRARY, 32),
}


@pytest.mark.parametrize("what", PYTHON)
def test_python_can(confinement: Confinement, what: str) -> None:
    code, expected = PYTHON[what]
    told = confinement.run(code, inputs={"a": 2})
    if what == "processes" and confinement.backend == "landlock":
        # its locks lie in the machine's own /dev/shm, which code without namespaces does not get
        assert "SemLock" in told.answer["traceback"]
        return
    assert (told.result, told.answer.get("error")) == (expected, None), (told.answer, told.stderr)


@pytest.mark.parametrize("what", NODE)
def test_node_can(confinement: Confinement, what: str) -> None:
    code, expected = NODE[what]
    told = confinement.run(code, language="node", inputs={"a": 2})
    assert (told.result, told.answer.get("error")) == (expected, None), (told.answer, told.stderr)


def test_results_are_written_as_json_dumps_does(ordinary_driver: Driver) -> None:
    values = "[None, True, -1, 2 ** 70, 1.5, 1e300, 'ü\\n\\x00\\ud800', (1, 2), {'a': {}, 1: [], None: 2, 1.5: 4}]"
    code = f"import json\nresult = {values}\nprint(json.dumps(dict(result=result)), end='')"
    told = ordinary_driver.run("landlock", code, inputs=None)
    assert told.frame == told.stdout
    assert ordinary_driver.run("landlock", "result = float('nan')", inputs=None).frame == b'{"result": NaN}'


def test_what_is_printed_comes_out(confinement: Confinement) -> None:
    told = confinement.run("import sys\nprint('out ü')\nprint('bad', file=sys.stderr)", inputs=None)
    assert (told.stdout, told.stderr) == ("out ü\n".encode(), b"bad\n")
    told = confinement.run("console.log('out'); console.error('bad')", language="node", inputs=None)
    assert (told.stdout, told.stderr) == (b"out\n", b"bad\n")


def test_an_error_shows_the_lines_of_the_code_alone(confinement: Confinement) -> None:
    told = confinement.run("def divide(x):\n    return 1 / x\n\ndivide(0)\n", inputs=None)
    assert told.answer["message"] == "ZeroDivisionError: division by zero"
    assert told.answer["traceback"].splitlines()[1:3] == ['  File "code.py", line 4, in <module>', "    divide(0)"]
    assert "<string>" not in told.answer["traceback"]
    told = confinement.run("const a = 1;\nthrow new TypeError('no');", language="node", inputs=None)
    assert told.answer["message"] == "TypeError: no"
    assert "code.js:2:7" in told.answer["traceback"]
    assert "[eval]" not in told.answer["traceback"]


@pytest.mark.parametrize(("language", "code"), [("python", "x = ("), ("node", "return (")])
def test_code_that_is_none(confinement: Confinement, language: str, code: str) -> None:
    assert "SyntaxError" in confinement.run(code, language=language, inputs=None).answer["message"]


@pytest.mark.parametrize(
    ("language", "code"),
    [("python", "result = {1, 2}"), ("node", "const a = {}; a.a = a; return a"), ("node", "return 1n")],
)
def test_a_result_that_is_no_json(confinement: Confinement, language: str, code: str) -> None:
    assert confinement.run(code, language=language, inputs=None).answer["error"] == "result"


def test_many_quick_runs_do_not_run_into_limits_of_the_last_ones(confinement: Confinement) -> None:
    for _ in range(10):
        told = [confinement.begin("result = 1", inputs=None) for _ in range(8)]
        assert [read(one).result for one in told] == [1] * 8


def test_large_inputs_arrive(confinement: Confinement) -> None:
    assert confinement.run("result = len(inputs)", inputs="x" * 3_000_000).result == 3_000_000
    told = confinement.run("return inputs.length", language="node", inputs="x" * 3_000_000)
    assert told.result == 3_000_000
