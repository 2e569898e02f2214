"""Folders in the worker's scratch: what a page's browser writes for us, and what is recorded of it.

A browser may run as somebody else, and may have been taken over by a page: what stands in a folder that it writes to is
opened as what it is, never as what it points at.
"""

import asyncio
import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


class Workspace:
    """A folder, made when it is first needed. Whoever owns its home owns it, too."""

    def __init__(self, home: Path) -> None:
        """`home` is removed with all that is in it when its browser, or the pool, ends."""
        self._home = home
        self._path = home / f"page-{uuid4().hex}"

    @property
    def path(self) -> Path:
        """The folder. Raises OSError where it can't be made."""
        try:
            self._path.mkdir(mode=0o700)
        except FileExistsError:
            return self._path
        owner = self._home.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            folder = os.open(self._path, os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                os.fchown(folder, owner.st_uid, owner.st_gid)
            finally:
                os.close(folder)
        return self._path

    def take_out(self, name: str) -> BinaryIO:
        """Open a file of the folder and remove its name: it is gone when it is closed.

        Raises:
            OSError: there is none, or something else of that name.
        """
        path = self._path / name
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        try:
            _check_own(file.fileno(), path)
            path.unlink()
        except BaseException:
            file.close()
            raise
        return file

    def discard(self, name: str) -> None:
        """Remove a file of the folder, if it is there."""
        with contextlib.suppress(OSError):
            (self._path / name).unlink()

    async def remove(self) -> None:
        """Remove it with all that is in it; again is fine."""
        await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)


def _check_own(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise OSError(f"{path} is no file of its own")
    shown = Path(f"/proc/self/fd/{descriptor}")
    if shown.is_symlink() and shown.readlink() != path:  # a folder on the way was put elsewhere
        raise OSError(f"{path} leads elsewhere")
