"""What tenants let their executions reach, and what these were refused.

Revision: 0006.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE runtime.egress_lists (
    tenant_id uuid PRIMARY KEY REFERENCES runtime.tenants ON DELETE CASCADE,
    allow jsonb NOT NULL,
    deny jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by uuid
);

CREATE TABLE runtime.egress_refusals (
    refusal_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    execution_id uuid NOT NULL,
    host text NOT NULL,
    port integer,
    rule text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX egress_refusals_listed ON runtime.egress_refusals (tenant_id, at DESC, refusal_id DESC);
CREATE INDEX egress_refusals_of_execution
    ON runtime.egress_refusals (tenant_id, execution_id, at DESC, refusal_id DESC)
"""

OWNED = ("egress_lists", "egress_refusals")


def upgrade() -> None:
    """Add the tables, and close them as the others are; old code knows nothing of them."""
    _run(STATEMENTS)
    for table in OWNED:
        _run(f"""
            ALTER TABLE runtime.{table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE runtime.{table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY own_tenant ON runtime.{table} TO runtime_app
                USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
            CREATE POLICY every_tenant ON runtime.{table} TO runtime_system USING (true);
        """)
    # a refusal is written once and outlives its execution; no role that serves requests or works may change it
    _run("REVOKE UPDATE, DELETE ON runtime.egress_refusals FROM runtime_app")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
