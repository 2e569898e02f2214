"""What a run holds by its open descriptors, and in file systems that are in memory. Linux only, as every backend is."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_USUAL_BUFFER: Final = 212_992


@dataclass(frozen=True)
class Open:
    """Of all its processes together, each thing once however many hold it."""

    sockets: int = 0
    """Also those descriptors that can't be looked at: they may be one."""
    nameless: int = 0
    """Bytes on disk of files that have lost their names."""


def survey(pids: Sequence[int]) -> Open:
    """Look at every open descriptor of the processes."""
    sockets: set[int] = set()
    files: dict[tuple[int, int], int] = {}
    unseen = 0
    for found in _list_open(pids):
        if found is None:
            unseen += 1
        elif stat.S_ISSOCK(found.st_mode):
            sockets.add(found.st_ino)
        elif stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
            files[found.st_dev, found.st_ino] = found.st_blocks * 512
    return Open(len(sockets) + unseen, sum(files.values()))


def _list_open(pids: Sequence[int]) -> Iterator[os.stat_result | None]:
    """None for each that is hidden from us."""
    for pid in pids:
        try:
            numbers = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            yield None
            continue
        except OSError:
            continue
        for number in numbers:
            try:
                yield os.stat(f"/proc/{pid}/fd/{number}")
            except PermissionError:
                yield None
            except OSError:
                continue


def find_buffer() -> int:
    """Bytes that may wait in one socket, where nobody can ask for more (socket(7), wmem_default)."""
    try:
        return int(Path("/proc/sys/net/core/wmem_default").read_text())
    except (OSError, ValueError):
        return _USUAL_BUFFER


def count_entries(pids: Sequence[int], folders: Sequence[str]) -> int:
    """Files and folders in file systems of the processes' own, by what each is called inside."""
    return sum(_count_in(pids, folder) for folder in folders)


def _count_in(pids: Sequence[int], folder: str) -> int:
    ours = _find_device(folder)
    for pid in pids:
        inside = f"/proc/{pid}/root{folder}"
        try:
            device, found = _find_device(inside), os.statvfs(inside)
        except OSError:  # it has just ended
            continue
        if device != ours:
            return found.f_files - found.f_ffree
    return 0


def _find_device(folder: str) -> int | None:
    try:
        return os.stat(folder).st_dev
    except OSError:
        return None
