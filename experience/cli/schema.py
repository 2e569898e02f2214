"""Which schema the installed code needs, without asking the tiers: they take seconds to say "nothing to do"."""

import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

PACKAGES = Path(__file__).parents[2]
FOLDERS = (PACKAGES / "experience" / "migrations", PACKAGES / "runtime" / "migrations")
LIBRARIES = ("alembic", "pgqueuer")
"""They decide what a migration does, too: the queue's tables come from PgQueuer itself."""


def fingerprint_schema(folders: Iterable[Path] = FOLDERS) -> str:
    """A word that is another one as soon as any migration of either tier is."""
    digest = hashlib.sha256()
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:32]
