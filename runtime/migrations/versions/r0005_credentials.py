"""Credentials of tenants, sealed, and where each of them went.

Revision: 0005.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE runtime.credentials (
    credential_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('login', 'token', 'header', 'fields')),
    fields jsonb NOT NULL,
    domains jsonb NOT NULL,
    version integer NOT NULL,
    data_key bytea NOT NULL,
    sealed bytea NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (tenant_id, name)
);

CREATE TABLE runtime.credential_uses (
    use_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    credential_id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    fields jsonb NOT NULL,
    host text NOT NULL,
    execution_id uuid NOT NULL,
    node_id text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX credential_uses_listed ON runtime.credential_uses (tenant_id, credential_id, at DESC, use_id DESC)
"""

OWNED = ("credentials", "credential_uses")


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
    # what a credential was used for is written once, and outlives it; no role that serves requests may change it
    _run("REVOKE UPDATE, DELETE ON runtime.credential_uses FROM runtime_app")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
