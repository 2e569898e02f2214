"""Pausing, retrying, asking, browser checkpoints, dead letters, and turns between tenants.

Old code goes on working: what it leaves at its default is ready, of normal priority and nobody's retry.

Revision: 0003.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE runtime.tenants ADD COLUMN next_turn bigint NOT NULL DEFAULT 0;

ALTER TABLE runtime.executions
    ADD COLUMN ready boolean NOT NULL DEFAULT true,
    ADD COLUMN pause_requested_at timestamptz,
    ADD COLUMN pause_reason text,
    ADD COLUMN priority smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN -1 AND 1),
    ADD COLUMN turn bigint NOT NULL DEFAULT 0,
    ADD COLUMN retry_of uuid,
    ADD COLUMN retry json,
    ADD COLUMN question json;
CREATE INDEX executions_asking ON runtime.executions (tenant_id, created_at DESC, execution_id DESC)
    WHERE question IS NOT NULL;

ALTER TABLE runtime.runs DROP CONSTRAINT runs_outcome_check;
ALTER TABLE runtime.runs ADD CONSTRAINT runs_outcome_check
    CHECK (outcome IN ('finished', 'handed_back', 'paused', 'lost'));

ALTER TABLE runtime.steps ADD COLUMN reused boolean NOT NULL DEFAULT false;

CREATE TABLE runtime.checkpoints (
    execution_id uuid NOT NULL REFERENCES runtime.executions ON DELETE CASCADE,
    node_id text NOT NULL,
    page text NOT NULL,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, node_id, page)
);

CREATE TABLE runtime.dead_letters (
    execution_id uuid PRIMARY KEY REFERENCES runtime.executions ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    failure json NOT NULL,
    losses integer NOT NULL,
    in_flight json NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    resolution text CHECK (resolution IN ('retried', 'discarded')),
    resolved_at timestamptz,
    resolved_by uuid,
    reason text,
    retried_as uuid
);
CREATE INDEX dead_letters_listed ON runtime.dead_letters (tenant_id, died_at DESC, execution_id DESC);

CREATE SEQUENCE runtime.turns
"""

OWNED = ("checkpoints", "dead_letters")


def upgrade() -> None:
    """Add what is missing, and close the new tables as the others are."""
    _run(STATEMENTS)
    for table in OWNED:
        _run(f"""
            ALTER TABLE runtime.{table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE runtime.{table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY own_tenant ON runtime.{table} TO runtime_app
                USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
            CREATE POLICY every_tenant ON runtime.{table} TO runtime_system USING (true);
        """)
    # where the tenants' turns stand: no secret, and moved by whoever admits or claims
    _run("GRANT USAGE, SELECT, UPDATE ON SEQUENCE runtime.turns TO runtime_app, runtime_system")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
