"""Tenants, workflows, executions with their runs, steps, events and artifacts.

Row-level security on every table: runtime_app sees the tenant named by `app.tenant_id` and nothing without one;
runtime_system works across tenants through a policy of its own. FORCE holds the owner to the policies too.

Revision: 0001.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE runtime.tenants (
    tenant_id uuid PRIMARY KEY,
    suspended boolean NOT NULL DEFAULT false,
    max_concurrent_executions integer,
    max_workflows integer,
    retention_days integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE runtime.workflows (
    workflow_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    name text NOT NULL,
    description text NOT NULL,
    status text NOT NULL CHECK (status IN ('draft', 'active', 'paused')),
    version integer NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX workflows_listed ON runtime.workflows (tenant_id, updated_at DESC, workflow_id DESC)
    WHERE deleted_at IS NULL;

CREATE TABLE runtime.workflow_versions (
    workflow_id uuid NOT NULL REFERENCES runtime.workflows ON DELETE CASCADE,
    version integer NOT NULL,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    etag text NOT NULL,
    content_hash text NOT NULL,
    document jsonb NOT NULL,
    nodes integer NOT NULL,
    faults jsonb NOT NULL,
    plan jsonb,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow_id, version)
);

CREATE TABLE runtime.executions (
    execution_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    intent_id uuid NOT NULL,
    session_id uuid,
    user_id uuid,
    realm text NOT NULL,
    intent text NOT NULL,
    name text NOT NULL,
    parameters jsonb NOT NULL,
    workflow_id uuid,
    workflow_version integer,
    document jsonb,
    plan jsonb,
    trigger jsonb NOT NULL,
    workflow_concurrency integer,
    timeout_s double precision NOT NULL,
    status text NOT NULL CHECK (status IN
        ('pending', 'running', 'paused', 'waiting', 'completed', 'failed', 'cancelled', 'budget_exceeded')),
    admitted_at timestamptz,
    epoch integer NOT NULL DEFAULT 0,
    losses integer NOT NULL DEFAULT 0,
    head_seq bigint NOT NULL DEFAULT 0,
    log_id uuid NOT NULL,
    last_write uuid,
    progress double precision NOT NULL DEFAULT 0,
    current_node text,
    result json,
    error json,
    credits integer NOT NULL DEFAULT 0,
    usd numeric NOT NULL DEFAULT 0,
    cancel_requested_at timestamptz,
    cancel_reason text,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX executions_listed ON runtime.executions (tenant_id, created_at DESC, execution_id DESC);
CREATE INDEX executions_unfinished ON runtime.executions (tenant_id, created_at, execution_id)
    WHERE status IN ('pending', 'running', 'paused', 'waiting');
CREATE INDEX executions_by_workflow ON runtime.executions (workflow_id) WHERE workflow_id IS NOT NULL;
CREATE INDEX executions_finished ON runtime.executions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE runtime.runs (
    execution_id uuid NOT NULL REFERENCES runtime.executions ON DELETE CASCADE,
    epoch integer NOT NULL,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    worker text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('finished', 'handed_back', 'lost')),
    PRIMARY KEY (execution_id, epoch)
);

CREATE TABLE runtime.steps (
    step_id uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES runtime.executions ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    node_id text NOT NULL,
    path text NOT NULL DEFAULT '',
    attempt integer NOT NULL,
    epoch integer NOT NULL,
    node_type text NOT NULL,
    phase integer NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'retrying', 'success', 'failed', 'skipped')),
    outputs json,
    error json,
    started_at timestamptz,
    finished_at timestamptz,
    duration_ms integer,
    credits integer NOT NULL DEFAULT 0,
    ordinal bigint NOT NULL
);
CREATE UNIQUE INDEX steps_once ON runtime.steps (execution_id, node_id, path, attempt);

CREATE TABLE runtime.events (
    execution_id uuid NOT NULL REFERENCES runtime.executions ON DELETE CASCADE,
    seq bigint NOT NULL,
    tenant_id uuid NOT NULL,
    type text NOT NULL,
    body text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, seq)
);

CREATE TABLE runtime.artifacts (
    artifact_id uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES runtime.executions ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES runtime.tenants,
    node_id text,
    kind text NOT NULL CHECK (kind IN ('screenshot', 'failure_screenshot', 'console', 'output', 'file')),
    name text NOT NULL,
    media_type text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    width integer,
    height integer,
    page_url text,
    path text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX artifacts_of_execution ON runtime.artifacts (execution_id, created_at, artifact_id);
"""

OWNED = ("tenants", "workflows", "workflow_versions", "executions", "runs", "steps", "events", "artifacts")


def upgrade() -> None:
    """Create the tables and close them."""
    _run(TABLES)
    for table in OWNED:
        _run(f"""
            ALTER TABLE runtime.{table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE runtime.{table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY own_tenant ON runtime.{table} TO runtime_app
                USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid));
            CREATE POLICY every_tenant ON runtime.{table} TO runtime_system USING (true);
        """)
    # The log of what happened is written once: no role that serves requests may change it.
    _run("REVOKE UPDATE, DELETE ON runtime.events FROM runtime_app")
    _run("REVOKE UPDATE ON runtime.workflow_versions FROM runtime_app")


def _run(statements: str) -> None:
    # asyncpg prepares what it runs, and a prepared statement is one statement
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
