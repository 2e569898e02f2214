"""A page's folder in the worker's scratch: files on their way in and out lie there, and go with the page."""

import asyncio
import os
import shutil
from pathlib import Path
from uuid import uuid4


class Workspace:
    """Made when it is first needed. Whoever runs the browser can write in it."""

    def __init__(self, home: Path) -> None:
        """`home` is the folder of the pool, which is removed with all that is in it when the pool ends."""
        self._home = home
        self._path = home / f"page-{uuid4().hex}"

    @property
    def path(self) -> Path:
        """The folder. Raises OSError where it can't be made."""
        return self.make(self._path)

    def make(self, path: Path) -> Path:
        """A folder in it. Raises OSError."""
        if not path.is_dir():
            path.mkdir(mode=0o700)
            owner = self._home.stat()
            if os.geteuid() == 0 and owner.st_uid != 0:  # a browser that runs as somebody else
                os.chown(path, owner.st_uid, owner.st_gid)
        return path

    async def remove(self) -> None:
        """Remove it with all that is in it; again is fine."""
        await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)
