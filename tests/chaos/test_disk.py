"""No room left for artifacts: a small file system of its own, where this user may mount one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.checker import check_now
from tests.chaos.documents import look_around, wait_in_turn
from tests.chaos.fixtures import SetStage
from tests.chaos.snapshot import read_snapshot

ROOM = 400 * 1_024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for a few pictures."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this user may not mount a file system: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_fails_the_step_that_needs_it_and_passes(set_stage: SetStage, small_disk: Path) -> None:
    async with set_stage(artifacts=small_disk) as rig, rig.visit() as ada:
        before = await ada.start(look_around(rig.shop))
        assert (await ada.ended(before))["status"] == "completed"
        filler = small_disk / "filler"
        fill(filler)
        full = await ada.start(look_around(rig.shop, kilobytes=200))
        ada.watch(full)
        ended = await ada.ended(full)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "artifact_store")
        assert "full" in ended["error"]["message"]
        beside = await ada.start(wait_in_turn(0.05, steps=2))
        assert (await ada.ended(beside))["status"] == "completed", "what stores nothing needs no room"
        await check_now(rig)
        filler.unlink()
        after = await ada.start(look_around(rig.shop))
        assert (await ada.ended(after))["status"] == "completed"
        snapshot = await read_snapshot(rig.database)
        known = {row["path"] for rows in snapshot.artifacts.values() for row in rows}
        assert list_files(small_disk) == known, "no half file, and no file that nobody knows"
        await ada.seen()


def list_files(folder: Path) -> set[str]:
    """Everything that lies there, by its relative name."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                os.write(file.fileno(), b"\0" * 4_096)
        except OSError:
            return
