"""Tenant scoping can't be skipped: rules over the source of both stores and of whoever works across tenants.

Row-level security stands behind every query, and this stands before it: a query that forgets its tenant is found when
it is written, and not by an empty answer. What a transaction has read with its tenant it may write back by key: the
UPDATE of a changed row object is SQLAlchemy's own.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from experience.store.tables import Row

ROOT = Path(__file__).parents[2]
STORE = ROOT / "experience" / "store"
RUNTIME_STORE = ROOT / "runtime" / "store"
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

ACROSS_TENANTS_IN_RUNTIME = {
    "runtime/app.py": "hands the door on",
    "runtime/store/sealed.py": "when a key is changed, all that it sealed is sealed anew, whosever it is",
    "runtime/store/tenants.py": "adopting a guest's work is a move from one tenant to another",
    "runtime/store/sandboxes.py": "what a worker can run is no tenant's",
    "runtime/store/upkeep.py": "reconciles, prunes and measures for all tenants",
}
"""As above; Runtime's stores open their transactions themselves, so they are named, too."""

STATEMENTS_OF_NO_TENANT = {
    "runtime/store/db.py": "says who the tenant is",
    "runtime/store/queue.py": "PgQueuer's tables, which know no tenant; what an entry names is loaded as its tenant",
    "runtime/store/sealed.py": "works across tenants, as said above",
    "runtime/store/sandboxes.py": "what a worker can run is no tenant's, and says nothing of any",
    "runtime/store/upkeep.py": "works across tenants, as said above",
}
"""Modules of Runtime's store whose SQL need not name a tenant, and why."""

OF_NO_TENANT = {"users", "throttle", "realm_catalogue"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources(tier: str = "experience") -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / tier).rglob("*.py")):
        if not {"cli", "demo", "web", "node_modules"} & set(path.relative_to(ROOT).parts):
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


# Runtime's methods open the transaction themselves and have the tenant as an argument; `guest_id` is the tenant that
# adopting takes from, `lease` carries the one it was given for.
TENANTS_IN_RUNTIME = {"tenant_id", "session.tenant_id", "lease.tenant_id", "guest_id"}
TABLE_IN_TEXT = re.compile(r"\b(?:FROM|JOIN|UPDATE|USING)\s+\{SCHEMA\}\.")
TENANT_IN_TEXT = re.compile(r"\btenant_id = (?::tenant_id|\w+\.tenant_id)\b")


def tables_of(call: ast.Call) -> list[str]:
    """The tables that a `select`, `update` or `delete` is over; one without a name when it counts."""
    given = {node.id for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Name)}
    return sorted(name for name in given if name.endswith("Row") or name == "table") or [""]


def find_unscoped_in_runtime(tree: ast.Module) -> list[str]:
    """Functions with a table in a statement whose tenant is not named, and texts alike; reads by key are among them."""
    found = []
    for function in functions(tree):
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        tables = Counter(
            table
            for call in calls
            if isinstance(call.func, ast.Name) and call.func.id in STATEMENTS
            for table in tables_of(call)
        )
        scoped = Counter(
            ast.unparse(one.left).removeprefix("col(").partition(".")[0]
            for one in ast.walk(function)
            if isinstance(one, ast.Compare)
            and isinstance(one.ops[0], ast.Eq)
            and ast.unparse(one.left).removesuffix(")").endswith(".tenant_id")
            and ast.unparse(one.comparators[0]) in TENANTS_IN_RUNTIME
        )
        unnamed = tables.pop("", 0) + sum(map(is_update_on_conflict, calls))
        if tables - scoped or scoped.total() < tables.total() + unnamed or any(map(is_read_by_key, calls)):
            found.append(function.name)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        said = ast.unparse(call)
        if ast.unparse(call.func) in {"text", "Statement"} and len(TENANT_IN_TEXT.findall(said)) < len(
            TABLE_IN_TEXT.findall(said)
        ):
            found.append(said)
    return found


def is_read_by_key(call: ast.Call) -> bool:
    """Whether it is `session.get(…)`, which has no room for a tenant."""
    return ast.unparse(call.func) in {"session.get", "session.get_one", "session.refresh", "session.merge"}


def is_update_on_conflict(call: ast.Call) -> bool:
    """Whether an INSERT may change a row that is there, found by another key than the tenant's own."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr == "on_conflict_do_update"
    return named and "index_elements=['tenant_id']" not in ast.unparse(call)


RUNTIME_STORES = [
    path
    for path in sorted(RUNTIME_STORE.glob("*.py"))
    if path.relative_to(ROOT).as_posix() not in STATEMENTS_OF_NO_TENANT
]


@pytest.mark.parametrize("path", RUNTIME_STORES, ids=lambda path: path.stem)
def test_every_statement_of_runtime_names_the_tenant(path: Path) -> None:
    assert find_unscoped_in_runtime(parse(path)) == []


def test_the_rule_for_runtime_finds_what_it_is_for() -> None:
    bad = """
async def by_key(session): return await session.get(StepRow, key)
def nothing(): return select(StepRow).where(col(StepRow.step_id) == step_id)
def another(session): return update(StepRow).where(col(StepRow.tenant_id) == row.tenant_id)
def half(tenant_id): return select(RunRow, StepRow).where(col(RunRow.tenant_id) == tenant_id)
def once(tenant_id):
    one = delete(RunRow).where(col(RunRow.tenant_id) == tenant_id)
    return delete(RunRow)
def counted(): return select(func.count()).where(col(RunRow.epoch) == 1)
def put(): return insert(StepRow).on_conflict_do_update(index_elements=["path"], set_={})
def good(session, lease):
    one = select(func.count()).where(col(RunRow.tenant_id) == session.tenant_id)
    return update(RunRow).where(col(RunRow.tenant_id) == lease.tenant_id)
_BAD = text(f"SELECT 1 FROM {SCHEMA}.runs r JOIN {SCHEMA}.steps s USING (epoch) WHERE r.tenant_id = :tenant_id")
_GOOD = text(f"UPDATE {SCHEMA}.runs SET epoch = 1 WHERE tenant_id = :tenant_id")
"""
    found = find_unscoped_in_runtime(ast.parse(bad))
    assert found[:-1] == ["by_key", "nothing", "another", "half", "once", "counted", "put"]
    assert found[-1].startswith("text(f'SELECT 1") or found[-1].startswith('text(f"SELECT 1')


def test_sql_stands_in_runtimes_store_only() -> None:
    writers = {
        name
        for name, tree in sources("runtime")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in {"sqlalchemy", "sqlmodel"}
    }
    assert {name for name in writers if not name.startswith(("runtime/store/", "runtime/migrations/"))} == set()
    assert {name for name in STATEMENTS_OF_NO_TENANT if name not in writers} == set()


def test_only_named_modules_of_runtime_work_across_tenants() -> None:
    holders = {
        name
        for name, tree in sources("runtime")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and {alias.name for alias in node.names} & {"SystemDatabase", "SystemSession"}
    }
    assert holders == set(ACROSS_TENANTS_IN_RUNTIME)
    told = {name for name, tree in sources("runtime") if "system_database_url" in attributes(tree)}
    assert told == {"runtime/app.py"}  # the queue leases entries of all tenants by it


def attributes(tree: ast.Module) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


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
