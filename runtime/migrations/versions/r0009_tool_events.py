"""What runs used tools for: one row for each call.

Revision: 0009.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE runtime.tool_events (
    event_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    execution_id uuid NOT NULL,
    node_id text NOT NULL,
    user_id uuid,
    tool text NOT NULL,
    what text NOT NULL,
    outcome text NOT NULL,
    sent bigint NOT NULL,
    received bigint NOT NULL,
    seconds double precision NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX tool_events_listed ON runtime.tool_events (tenant_id, at DESC, event_id DESC);
CREATE INDEX tool_events_of_execution ON runtime.tool_events (tenant_id, execution_id, at DESC, event_id DESC);
CREATE INDEX credential_uses_by_time ON runtime.credential_uses (tenant_id, at DESC, use_id DESC)
"""


def upgrade() -> None:
    """Add the table, and close it as the others are; old code knows nothing of it."""
    _run(STATEMENTS)
    _run("""
        ALTER TABLE runtime.tool_events ENABLE ROW LEVEL SECURITY;
        ALTER TABLE runtime.tool_events FORCE ROW LEVEL SECURITY;
        CREATE POLICY own_tenant ON runtime.tool_events TO runtime_app
            USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
        CREATE POLICY every_tenant ON runtime.tool_events TO runtime_system USING (true);
    """)
    # written once: no role that serves requests or works may change it; it goes with the years (runtime/store/upkeep)
    _run("REVOKE UPDATE, DELETE ON runtime.tool_events FROM runtime_app")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
