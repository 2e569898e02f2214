"""What the canary tries from inside the sandbox: Python code as a stranger would hand it in, with `inputs` as bait.

`result` names every way that was open. Nothing here is run outside of the sandbox.
"""
# ruff: noqa: F821

import os
import pathlib
import socket
import sys
import time

inputs: dict[str, str]
WAIT_S = 0.5
NOTICED_S = 5.0
"""Who counts does so twenty times a second; on a machine that has no time for it, later."""


def _reads(path: str) -> bool:
    try:
        pathlib.Path(path).read_bytes()
    except OSError:
        return False
    return True


def _connects(family: int, address: object) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as caller:
            caller.settimeout(WAIT_S)
            caller.connect(address)  # type: ignore[arg-type]  # both families' addresses
    except OSError:
        return False
    return True


def _sees(secret: bytes) -> bool:
    environments = [os.environb.get(name, b"") for name in os.environb]
    for pid in range(1, 64):
        try:
            environments.append(pathlib.Path(f"/proc/{pid}/environ").read_bytes())
        except OSError:
            continue
    return any(secret in environment for environment in environments)


def _allocates(size: int) -> bool:
    try:
        bytearray(size)
    except MemoryError:
        return False
    return True


def _writes(path: str) -> bool:
    file = pathlib.Path(path, "stagedoor-canary")
    try:
        file.write_bytes(b"")
        file.unlink()
    except OSError:
        return False
    return True


def _empties(path: str) -> bool:
    read_only, neither = os.O_RDONLY, 3
    for way in (read_only, neither):
        try:
            os.close(os.open(path, way | os.O_TRUNC))
        except OSError:
            continue
        return True
    try:
        os.truncate(path, 0)
    except OSError:
        return False
    return True


def _changes_mode(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode & 0o7777
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    for place in (path, descriptor):
        try:
            os.chmod(place, mode)
        except OSError:
            continue
        return True
    return False


def _forks(most: int) -> int:
    children = 0
    try:
        for _ in range(most):
            if os.fork() == 0:
                time.sleep(10)
                os._exit(0)
            children += 1
    except OSError:
        pass
    return children


def _fills(folder: str, most: int) -> int:
    made = 0
    try:
        for made in range(1, most + 1):
            os.close(os.open(f"{folder}/{made}", os.O_CREAT | os.O_WRONLY))
    except OSError:
        return made
    time.sleep(NOTICED_S)
    return made


if inputs["ask"] == "ways":
    ways = {
        "file": _reads(inputs["file"]),
        "network": _connects(socket.AF_INET, ("127.0.0.1", int(inputs["port"]))),
        "unix socket": _connects(socket.AF_UNIX, inputs["socket"]),
        "environment": _sees(inputs["environment"].encode()),
        "memory": _allocates(int(inputs["memory"])),
        "root folder": _writes("/"),
        "file to be emptied": _empties(inputs["file"]),
        "mode of a file": any(map(_changes_mode, (inputs["file"], sys.executable, os.__file__))),
        "no private folder": not _writes(os.environ.get("TMPDIR", "/nowhere")),
    }
    result: object = [name for name, is_open in ways.items() if is_open]
elif inputs["ask"] == "entries":
    result = _fills(os.environ["TMPDIR"], int(inputs["entries"]))
else:
    result = _forks(int(inputs["processes"]))
