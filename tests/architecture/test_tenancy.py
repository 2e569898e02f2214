"""Tenant scoping can't be skipped: rules over the source of Experience's stores and of whoever works across tenants.

Row-level security stands behind every query, and this stands before it: a query that forgets its tenant is found when
it is written, and not by an empty answer.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from experience.store.tables import Row

ROOT = Path(__file__).parents[2]
STORE = ROOT / "experience" / "store"
STATEMENTS = {"select", "update", "delete"}

ACROSS_TENANTS = {
    "experience/app.py": "hands the door on",
    "experience/account.py": "a user's password and logins are the same in all tenants",
    "experience/audit.py": "entries about who is not in a tenant yet, and about what operators do",
    "experience/auth/access.py": "a refresh token is looked up before its tenant is known",
    "experience/auth/guard.py": "so is a ticket",
    "experience/auth/identities.py": "so is every credential",
    "experience/auth/throttle.py": "counters belong to no tenant",
    "experience/installation.py": "operators work on all tenants",
    "experience/outbox.py": "delivers the intents of all tenants",
    "experience/pruning.py": "throws away what has expired, whosever it was",
    "experience/realms.py": "the catalogue belongs to no tenant",
    "experience/sessions.py": "makes, moves and ends guests' tenants",
    "experience/sign_in.py": "people sign in by address, in whatever tenant they are",
}
"""Who may hold the system role's door, and why."""

OF_NO_TENANT = {"users", "throttle", "realm_catalogue"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "experience").rglob("*.py")):
        if not {"cli", "demo", "web", "node_modules"} & set(path.parts):
            yield path.relative_to(ROOT).as_posix(), parse(path)


def functions(tree: ast.AST) -> Iterator[ast.AsyncFunctionDef | ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef))


def session_of(function: ast.AsyncFunctionDef | ast.FunctionDef, kind: str) -> str | None:
    """Name of the parameter that is a session of this kind."""
    named = [argument for argument in function.args.args if argument.annotation is not None]
    return next((one.arg for one in named if one.annotation and ast.unparse(one.annotation) == kind), None)


def statements_in(function: ast.AST) -> int:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return sum(isinstance(call, ast.Name) and call.id in STATEMENTS for call in calls)


def scopings_in(function: ast.AST, session: str) -> int:
    """How often the function says `….tenant_id == session.tenant_id`."""
    wanted = f"{session}.tenant_id"
    compared = [node for node in ast.walk(function) if isinstance(node, ast.Compare)]
    return sum(
        isinstance(one.ops[0], ast.Eq)
        and ast.unparse(one.comparators[0]) == wanted
        and ast.unparse(one.left).removesuffix(")").endswith(".tenant_id")
        for one in compared
    )


def find_unscoped(tree: ast.Module) -> list[str]:
    """Functions over one tenant's rows with a statement that does not name the tenant."""
    found = []
    for function in functions(tree):
        session = session_of(function, "TenantSession")
        if session is not None and scopings_in(function, session) < statements_in(function):
            found.append(function.name)
    return found


@pytest.mark.parametrize("path", sorted(STORE.glob("*.py")), ids=lambda path: path.stem)
def test_every_statement_over_one_tenants_rows_names_the_tenant(path: Path) -> None:
    assert find_unscoped(parse(path)) == []


def test_the_rule_above_finds_what_it_is_for() -> None:
    bad = """
async def f(session: TenantSession, x):
    return await session.exec(select(KeyRow).where(KeyRow.key_id == x))
async def g(session: TenantSession, tenant_id):
    return await session.exec(delete(KeyRow).where(col(KeyRow.tenant_id) == tenant_id))
async def h(session: TenantSession):
    a = select(KeyRow).where(KeyRow.tenant_id == session.tenant_id)
    return await session.exec(update(KeyRow).values(name=""))
async def good(session: TenantSession):
    return await session.exec(delete(KeyRow).where(col(KeyRow.tenant_id) == session.tenant_id))
"""
    assert find_unscoped(ast.parse(bad)) == ["f", "g", "h"]


def test_a_store_function_has_one_kind_of_session() -> None:
    for path in STORE.glob("*.py"):
        if path.name == "db.py":
            continue
        for function in functions(parse(path)):
            annotations = [ast.unparse(one.annotation) for one in function.args.args if one.annotation]
            sessions = [name for name in annotations if "Session" in name and "Row" not in name and "Id" not in name]
            assert set(sessions) <= {"TenantSession", "SystemSession"}, f"{path.name}: {function.name} {sessions}"
            assert len(sessions) <= 1, f"{path.name}: {function.name}"


def test_only_named_modules_work_across_tenants() -> None:
    holders = {
        name
        for name, tree in sources()
        if not name.startswith("experience/store/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and {alias.name for alias in node.names} & {"SystemDatabase", "SystemSession"}
    }
    assert holders == set(ACROSS_TENANTS)


def test_transactions_end_at_their_edge_only() -> None:
    ending = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"commit", "rollback"}
    }
    assert ending == {"experience/store/db.py"}


def test_sql_as_text_stands_only_where_a_tenant_plays_no_part() -> None:
    writers = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"text", "sqlalchemy.text", "sa.text"}
    }
    # who the tenant is, the migrations' lock, and conditions of indexes
    assert writers == {"experience/store/db.py", "experience/store/migrate.py", "experience/store/tables.py"}


def test_every_row_that_belongs_to_somebody_says_to_whom() -> None:
    without = {table.name for table in Row.metadata.tables.values() if "tenant_id" not in table.columns}
    assert without == OF_NO_TENANT
    nullable = [table.name for table in Row.metadata.tables.values() if "tenant_id" in table.columns]
    assert not [name for name in nullable if Row.metadata.tables[f"experience.{name}"].columns["tenant_id"].nullable]
