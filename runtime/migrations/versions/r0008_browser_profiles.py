"""Browser profiles of tenants, sealed, and which executions saved and loaded them.

Revision: 0008.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE runtime.browser_profiles (
    browser_profile_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    name text NOT NULL,
    hosts jsonb NOT NULL,
    size bigint NOT NULL,
    version integer NOT NULL,
    state_id uuid NOT NULL,
    data_key bytea NOT NULL,
    sealed bytea NOT NULL,
    saved_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    last_used_at timestamptz,
    UNIQUE (tenant_id, name)
);

CREATE TABLE runtime.browser_profile_uses (
    use_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants ON DELETE CASCADE,
    browser_profile_id uuid NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    act text NOT NULL CHECK (act IN ('saved', 'loaded')),
    execution_id uuid NOT NULL,
    node_id text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX browser_profile_uses_listed
    ON runtime.browser_profile_uses (tenant_id, browser_profile_id, at DESC, use_id DESC)
"""

OWNED = ("browser_profiles", "browser_profile_uses")


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
    # what a profile was used for is written once, and outlives it; no role that serves requests may change it
    _run("REVOKE UPDATE, DELETE ON runtime.browser_profile_uses FROM runtime_app")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
