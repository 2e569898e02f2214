"""When migrations have to run."""

from pathlib import Path

from experience.cli.schema import FOLDERS, fingerprint_schema


def test_every_change_of_a_migration_is_noticed(tmp_path: Path) -> None:
    seen = {fingerprint_schema([tmp_path])}
    first = tmp_path / "versions" / "0001.py"
    first.parent.mkdir()
    for write in (
        lambda: first.write_text("a"),
        lambda: first.write_text("b"),
        lambda: (tmp_path / "versions" / "0002.py").write_text(""),
        lambda: first.rename(tmp_path / "versions" / "0000.py"),
    ):
        write()
        seen.add(fingerprint_schema([tmp_path]))
    assert len(seen) == 5
    assert fingerprint_schema([tmp_path]) in seen


def test_it_looks_where_the_migrations_are() -> None:
    for folder in FOLDERS:
        assert list(folder.rglob("*.py")), folder
