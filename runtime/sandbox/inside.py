"""Runs in the sandbox, given to the interpreter as text: takes code and inputs, hands its result back.

Standard input is a socket to Runtime. It says R when it is ready; then a frame comes, and one goes back: four bytes of
length, most significant first, then what Program.encode says, and JSON. Nothing of Stagedoor's can be imported here,
and of Python's only what is needed is: the module json alone takes as long to load as the interpreter.
"""

import marshal
import os
import sys

try:  # now, because the code may leave no descriptor to load it by
    from _json import encode_basestring_ascii, make_encoder
except ImportError:
    make_encoder = None  # type: ignore[assignment, misc]


def _to_json(value: object) -> str:
    """As json.dumps, by the part of it that is written in C; where that is not as it was, or refuses, by itself."""
    try:
        encode = make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)
        return "".join(encode(value, 0))
    except Exception:  # noqa: BLE001 — the next line says it better
        import json  # noqa: PLC0415

        return json.dumps(value)


def _refuse(_: object) -> object:
    raise TypeError


def _speak(answer: dict[str, object]) -> None:
    """Hand back the one answer, and end without waiting for threads or whatever else the code has left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    text = _to_json(answer).encode()
    frame = len(text).to_bytes(4, "big") + text
    while frame:
        frame = frame[os.write(_channel, frame) :]
    os._exit(0)


def _explain(error: BaseException, code: str) -> dict[str, object]:
    """The error with the lines of the code that led to it, without ours."""
    import linecache  # noqa: PLC0415 — whoever succeeds pays nothing for it
    import traceback  # noqa: PLC0415

    linecache.cache["code.py"] = (len(code), None, code.splitlines(keepends=True), "code.py")
    told = traceback.TracebackException.from_exception(error)
    while told.stack and told.stack[0].filename == "<string>":
        del told.stack[0]
    kind = "memory" if isinstance(error, MemoryError) else "raised"
    last = "".join(told.format_exception_only()).strip()
    return {"error": kind, "message": last[-2_000:], "traceback": "".join(told.format())[-8_000:]}


def _perform(asked: dict[str, object]) -> dict[str, object]:
    code = str(asked["code"])
    names = {"__name__": "__main__", "__builtins__": __builtins__, "inputs": asked["inputs"], "result": None}
    try:
        exec(compile(code, "code.py", "exec"), names)  # noqa: S102 — what all of this is about
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            return {"error": "raised", "message": f"SystemExit: {leaving.code}", "traceback": ""}
    except BaseException as error:  # noqa: BLE001 — told to whoever wrote the code
        return _explain(error, code)
    try:
        _to_json(names["result"])
    except MemoryError:
        return {"error": "memory", "message": "MemoryError", "traceback": ""}
    except (TypeError, ValueError, RecursionError, OSError) as error:  # the last: of loading json
        return {"error": "result", "message": f"{type(error).__name__}: {error}"[:2_000], "traceback": ""}
    return {"result": names["result"]}


def _read(size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = os.read(_channel, size - len(parts))
        if not part:
            os._exit(1)
        parts += part
    return parts


_channel = os.dup(0)
_nothing = os.open("/dev/null", os.O_RDONLY)
os.dup2(_nothing, 0)
os.close(_nothing)
sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what is printed before a kill is seen
os.write(_channel, b"R")
_speak(_perform(marshal.loads(_read(int.from_bytes(_read(4), "big")))))  # noqa: S302 — Runtime's own
