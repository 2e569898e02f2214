"""The filter, held to the kernel's own headers."""

import re
import struct
from pathlib import Path

import pytest

from runtime.sandbox.seccomp import ABSENT, DENIED, MACHINES, SAME_ACCOUNT, SAME_VIEW, SIGNALS, build_filter
from runtime.sandbox.syscalls import AARCH64, X86_64

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
CONDITIONAL = {"prctl", "open", "openat", "clone", "socketpair", "ioctl", "fcntl", "prlimit64", "utimensat"}


@pytest.mark.parametrize(("machine", "numbers"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_numbers_are_those_of_the_kernels_headers(machine: str, numbers: dict[str, int]) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip("linux-libc-dev is not installed")
    known: dict[str, int] = {}
    for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()):
        known.setdefault(name, int(number))
    assert {name: known.get(name) for name in numbers} == dict(numbers)


def test_every_name_in_the_filter_has_a_number_and_every_number_a_use() -> None:
    used = {*DENIED, *ABSENT, *SAME_VIEW, *SAME_ACCOUNT, *SIGNALS, *CONDITIONAL}
    assert used == X86_64.keys() | AARCH64.keys()
    assert len(DENIED) == len(set(DENIED))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("strict", [True, False])
def test_jumps_stay_inside_and_every_way_ends_in_a_verdict(machine: str, *, strict: bool) -> None:
    program = build_filter(MACHINES[machine], same_view=strict, same_account=strict, signals=strict)
    lines = list(struct.iter_unpack("=HBBI", program))
    assert len(lines) < 4_096  # BPF_MAXINSNS
    for number, (code, if_so, if_not, _) in enumerate(lines):
        if code & 7 == 5:
            assert number + 1 + max(if_so, if_not) < len(lines)
    assert lines[-1][0] == 6


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None, **options: bool) -> int:
    """What the filter says of a call: runs the program as the kernel would."""
    chosen = MACHINES[machine]
    data = struct.pack("<IIQ6Q", number, audit or chosen.audit, 0, *(*arguments, *[0] * 6)[:6])
    lines = list(struct.iter_unpack("=HBBI", build_filter(chosen, **options)))
    at = held = 0
    while True:
        code, if_so, if_not, k = lines[at]
        at += 1
        match code:
            case 0x20:
                held = struct.unpack_from("<I", data, k)[0]
            case 0x54:
                held &= k
            case 0x15:
                at += if_so if held == k else if_not
            case 0x25:
                at += if_so if held > k else if_not
            case 0x45:
                at += if_so if held & k else if_not
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(hex(code))


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000


@pytest.mark.parametrize("machine", MACHINES)
def test_what_the_filter_says(machine: str) -> None:
    n = MACHINES[machine].numbers
    for name in DENIED:
        if name in n:
            assert verdict(machine, n[name]) == EPERM, name
    assert [verdict(machine, n[name]) for name in ("clone3", "openat2")] == [ENOSYS] * 2
    assert verdict(machine, 451) == ENOSYS
    assert verdict(machine, n["clone"], 0x3D0F00) == ALLOW  # a thread
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, n["clone"], flag | 17) == EPERM
    assert verdict(machine, n["socketpair"], 1, 1 | 0o2000000) == ALLOW
    assert [verdict(machine, n["socketpair"], *pair) for pair in ((1, 2), (1, 5), (30, 1))] == [EPERM] * 3
    assert [verdict(machine, n["ioctl"], 0, what) for what in (0x5412, 0x5401, 0x40086602)] == [EPERM, ALLOW, ALLOW]
    assert [verdict(machine, n["ioctl"], 0, what, same_view=True) for what in (0x5412, 0x5401)] == [EPERM, ALLOW]
    assert verdict(machine, n["ioctl"], 0, 0x40086602, same_view=True) == EPERM  # FS_IOC_SETFLAGS
    assert [verdict(machine, n["prlimit64"], pid) for pid in (0, 1)] == [ALLOW, EPERM]
    assert [verdict(machine, n["fcntl"], 0, what) for what in (1, 8, 15, 1024, 1031)] == [ALLOW, *[EPERM] * 4]
    assert [verdict(machine, n["prctl"], what) for what in (4, 15)] == [EPERM, ALLOW]
    assert verdict(machine, 39 if machine == "x86_64" else 172) == ALLOW  # getpid
    assert verdict(machine, 39, audit=0x40000003) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_without_namespaces_more_is_denied(machine: str) -> None:
    n = MACHINES[machine].numbers
    for name in SAME_VIEW:
        if name in n:
            assert verdict(machine, n[name]) == ALLOW
            assert verdict(machine, n[name], same_view=True) == EPERM
    for name in SAME_ACCOUNT:
        assert verdict(machine, n[name], 3, same_view=True) == ALLOW
        assert verdict(machine, n[name], 3, same_view=True, same_account=True) == EPERM
    for name in SIGNALS:
        assert verdict(machine, n[name], same_view=True) == ALLOW
        assert verdict(machine, n[name], same_view=True, signals=True) == EPERM
    by_path, by_descriptor = (3, 0x7FFF00000000), (3, 0)
    assert verdict(machine, n["utimensat"], *by_path, same_view=True) == EPERM
    assert verdict(machine, n["utimensat"], *by_descriptor, same_view=True) == ALLOW
    assert verdict(machine, n["utimensat"], *by_path) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", ["open", "openat"])
def test_without_namespaces_nothing_is_emptied_that_is_opened_to_be_read(machine: str, call: str) -> None:
    number = MACHINES[machine].numbers.get(call)
    if number is None:
        pytest.skip("it has no such call")
    before = () if call == "open" else (0xFFFFFF9C,)
    read, write, both, neither, create, empty = 0o0, 0o1, 0o2, 0o3, 0o100, 0o1000
    for flags in (read | empty, neither, neither | empty, read | create | empty, 0o2000000 | empty):
        assert verdict(machine, number, *before, 7, flags, same_view=True) == EPERM, oct(flags)
        assert verdict(machine, number, *before, 7, flags) == ALLOW
    for flags in (read, write, both, read | create, write | create | empty, both | empty):
        assert verdict(machine, number, *before, 7, flags, same_view=True) == ALLOW, oct(flags)


def test_the_second_door_of_x86_is_shut() -> None:
    assert verdict("x86_64", 0x40000000 | 39) == ENOSYS
