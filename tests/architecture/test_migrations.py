"""Each tier's migrations are one chain: two that follow the same one would leave Alembic without a head to go to."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("tier", ["experience", "runtime"])
def test_each_migration_follows_the_one_before_it(tier: str) -> None:
    files = sorted((ROOT / tier / "migrations" / "versions").glob("*[0-9]_*.py"))
    said = [_assignments(path) for path in files]
    revisions = [one["revision"] for one in said]
    assert len(revisions) > 1
    assert [one["down_revision"] for one in said] == [None, *revisions[:-1]], "in order of their files' names"


def _assignments(path: Path) -> dict[str, object]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found
