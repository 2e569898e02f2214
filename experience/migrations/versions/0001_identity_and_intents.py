"""Identity, sessions, intents with their outbox, and the audit trail.

SQL and not operations: this is what runs, and the test that compares it with tables.py shows that it is the same.
"""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE tenants (
        tenant_id UUID NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        suspended BOOLEAN NOT NULL,
        max_concurrent_executions INTEGER,
        max_workflows INTEGER,
        retention_days INTEGER,
        runtime_behind BOOLEAN NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
        CONSTRAINT tenants_kind_check CHECK (kind IN ('team', 'guest'))
    )
    """,
    """
    CREATE TABLE users (
        user_id UUID NOT NULL,
        email TEXT NOT NULL,
        display_name TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        operator BOOLEAN NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT users_pkey PRIMARY KEY (user_id),
        CONSTRAINT users_email_key UNIQUE (email)
    )
    """,
    """
    CREATE TABLE memberships (
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        role TEXT NOT NULL,
        joined_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT memberships_pkey PRIMARY KEY (tenant_id, user_id),
        CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
        CONSTRAINT memberships_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE,
        CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE invitations (
        invitation_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        email TEXT NOT NULL,
        role TEXT NOT NULL,
        token_hash BYTEA NOT NULL,
        invited_by UUID,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT invitations_pkey PRIMARY KEY (invitation_id),
        CONSTRAINT invitations_tenant_id_email_key UNIQUE (tenant_id, email),
        CONSTRAINT invitations_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
        CONSTRAINT invitations_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE,
        CONSTRAINT invitations_token_hash_key UNIQUE (token_hash)
    )
    """,
    """
    CREATE TABLE logins (
        login_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        kind TEXT NOT NULL,
        cookie_hash BYTEA,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
        address TEXT NOT NULL,
        user_agent TEXT NOT NULL,
        CONSTRAINT logins_pkey PRIMARY KEY (login_id),
        CONSTRAINT logins_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id)
            REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE,
        CONSTRAINT logins_kind_check
            CHECK ((kind = 'cookie') = (cookie_hash IS NOT NULL) AND kind IN ('cookie', 'token')),
        CONSTRAINT logins_cookie_hash_key UNIQUE (cookie_hash)
    )
    """,
    """
    CREATE TABLE refresh_tokens (
        token_hash BYTEA NOT NULL,
        tenant_id UUID NOT NULL,
        login_id UUID NOT NULL,
        issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
        spent_at TIMESTAMP WITH TIME ZONE,
        successor_salt BYTEA,
        CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash),
        CONSTRAINT refresh_tokens_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE,
        CONSTRAINT refresh_tokens_login_id_fkey FOREIGN KEY (login_id)
            REFERENCES logins (login_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE api_keys (
        key_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        name TEXT NOT NULL,
        prefix TEXT NOT NULL,
        secret_hash BYTEA NOT NULL,
        scopes TEXT[] NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        last_used_at TIMESTAMP WITH TIME ZONE,
        last_used_from TEXT,
        audited_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
        CONSTRAINT api_keys_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id)
            REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE tickets (
        ticket_hash BYTEA NOT NULL,
        tenant_id UUID NOT NULL,
        via TEXT NOT NULL,
        credential_id UUID NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT tickets_pkey PRIMARY KEY (ticket_hash),
        CONSTRAINT tickets_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE links (
        code_hash BYTEA NOT NULL,
        tenant_id UUID NOT NULL,
        user_id UUID NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT links_pkey PRIMARY KEY (code_hash),
        CONSTRAINT links_tenant_id_user_id_fkey FOREIGN KEY (tenant_id, user_id)
            REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE throttle (
        name TEXT NOT NULL,
        failures INTEGER NOT NULL,
        blocked_until TIMESTAMP WITH TIME ZONE NOT NULL,
        forget_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT throttle_pkey PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE audit_entries (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        tenant_id UUID NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        act TEXT NOT NULL,
        user_id UUID,
        subject TEXT NOT NULL,
        address TEXT NOT NULL,
        request_id TEXT NOT NULL,
        detail JSONB NOT NULL,
        CONSTRAINT audit_entries_pkey PRIMARY KEY (id),
        CONSTRAINT audit_entries_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE sessions (
        session_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        user_id UUID,
        token_hash BYTEA,
        label TEXT NOT NULL,
        permissions TEXT[] NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
        CONSTRAINT sessions_tenant_id_session_id_key UNIQUE (tenant_id, session_id),
        CONSTRAINT sessions_owner_check CHECK ((token_hash IS NULL) = (user_id IS NOT NULL)),
        CONSTRAINT sessions_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE,
        CONSTRAINT sessions_token_hash_key UNIQUE (token_hash)
    )
    """,
    """
    CREATE TABLE session_turns (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        tenant_id UUID NOT NULL,
        session_id UUID NOT NULL,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT session_turns_pkey PRIMARY KEY (id),
        CONSTRAINT session_turns_tenant_id_session_id_fkey FOREIGN KEY (tenant_id, session_id)
            REFERENCES sessions (tenant_id, session_id) ON DELETE CASCADE ON UPDATE CASCADE,
        CONSTRAINT session_turns_role_check CHECK (role IN ('user', 'assistant'))
    )
    """,
    """
    CREATE TABLE intents (
        intent_id UUID NOT NULL,
        tenant_id UUID NOT NULL,
        execution_id UUID NOT NULL,
        session_id UUID,
        user_id UUID,
        realm TEXT NOT NULL,
        intent TEXT NOT NULL,
        parameters JSONB NOT NULL,
        status TEXT NOT NULL,
        error TEXT,
        deferred BOOLEAN NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_at TIMESTAMP WITH TIME ZONE,
        last_error TEXT,
        cancel_requested BOOLEAN NOT NULL,
        cancel_reason TEXT NOT NULL,
        cancel_delivered_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        delivered_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT intents_pkey PRIMARY KEY (intent_id),
        CONSTRAINT intents_tenant_id_session_id_fkey FOREIGN KEY (tenant_id, session_id)
            REFERENCES sessions (tenant_id, session_id) ON DELETE SET NULL (session_id) ON UPDATE CASCADE,
        CONSTRAINT intents_status_check CHECK (status IN ('pending', 'delivered', 'refused')),
        CONSTRAINT intents_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE,
        CONSTRAINT intents_execution_id_key UNIQUE (execution_id)
    )
    """,
    """
    CREATE TABLE idempotency_records (
        tenant_id UUID NOT NULL,
        endpoint TEXT NOT NULL,
        key TEXT NOT NULL,
        request_hash BYTEA NOT NULL,
        status INTEGER,
        body JSONB,
        intent_id UUID,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT idempotency_records_pkey PRIMARY KEY (tenant_id, endpoint, key),
        CONSTRAINT idempotency_records_tenant_id_fkey FOREIGN KEY (tenant_id)
            REFERENCES tenants (tenant_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE realm_catalogue (
        id SMALLINT NOT NULL,
        catalogue JSONB NOT NULL,
        fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT realm_catalogue_pkey PRIMARY KEY (id),
        CONSTRAINT realm_catalogue_single_check CHECK (id = 1)
    )
    """,
)

INDEXES = (
    "CREATE INDEX memberships_user_id_idx ON memberships (user_id)",
    "CREATE INDEX logins_expires_at_idx ON logins (expires_at)",
    "CREATE INDEX logins_tenant_id_user_id_idx ON logins (tenant_id, user_id)",
    "CREATE INDEX logins_user_id_idx ON logins (user_id)",
    "CREATE INDEX refresh_tokens_login_id_idx ON refresh_tokens (login_id)",
    "CREATE INDEX api_keys_tenant_id_user_id_idx ON api_keys (tenant_id, user_id)",
    "CREATE INDEX tickets_expires_at_idx ON tickets (expires_at)",
    "CREATE INDEX links_expires_at_idx ON links (expires_at)",
    "CREATE INDEX links_tenant_id_user_id_idx ON links (tenant_id, user_id)",
    "CREATE INDEX throttle_forget_at_idx ON throttle (forget_at)",
    "CREATE INDEX audit_entries_tenant_id_id_idx ON audit_entries (tenant_id, id)",
    "CREATE INDEX sessions_expires_at_idx ON sessions (expires_at)",
    "CREATE INDEX session_turns_tenant_id_session_id_id_idx ON session_turns (tenant_id, session_id, id)",
    "CREATE INDEX intents_outbox_idx ON intents (next_attempt_at) WHERE next_attempt_at IS NOT NULL",
    "CREATE INDEX intents_tenant_id_intent_id_idx ON intents (tenant_id, intent_id)",
    "CREATE INDEX intents_tenant_id_session_id_intent_id_idx ON intents (tenant_id, session_id, intent_id)",
    "CREATE INDEX idempotency_records_expires_at_idx ON idempotency_records (expires_at)",
)

OF_A_TENANT = (
    "tenants",
    "memberships",
    "invitations",
    "logins",
    "refresh_tokens",
    "api_keys",
    "tickets",
    "links",
    "audit_entries",
    "sessions",
    "session_turns",
    "intents",
    "idempotency_records",
)
OF_NOBODY = ("users", "throttle", "realm_catalogue")

# What the app role may do; the default privileges of roles.sql gave it everything. A column list where a row holds
# more than a request may see.
APP_GRANTS = {
    "tenants": "SELECT",
    "users": "SELECT (user_id, email, display_name, operator, created_at)",
    "memberships": "SELECT, UPDATE (role), DELETE",
    "invitations": "SELECT, INSERT, DELETE",
    "api_keys": "SELECT, INSERT, DELETE",
    "tickets": "INSERT",
    "links": "INSERT",
    "audit_entries": "SELECT, INSERT",
    "sessions": "SELECT, INSERT, UPDATE, DELETE",
    "session_turns": "SELECT, INSERT, DELETE",
    "intents": "SELECT, INSERT, UPDATE, DELETE",
    "idempotency_records": "SELECT, INSERT, UPDATE, DELETE",
    "realm_catalogue": "SELECT",
}
# Append-only for everybody: a row goes only when its tenant goes, by the foreign key.
SYSTEM_GRANTS = {"audit_entries": "SELECT, INSERT"}

# nullif: without a tenant the policy shows nothing instead of raising; the sub-select is evaluated once per statement.
CALLER = "(SELECT nullif(current_setting('app.tenant_id', true), '')::uuid)"
VISIBLE = {
    "users": f"user_id IN (SELECT m.user_id FROM memberships m WHERE m.tenant_id = {CALLER})",  # noqa: S608  # a constant
    "realm_catalogue": "true",
}


def upgrade() -> None:
    """Create the tables, then close them: row-level security for everybody, the owner included."""
    for statement in TABLES + INDEXES:
        op.execute(statement)
    for table in OF_A_TENANT + OF_NOBODY:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY system ON {table} TO experience_system USING (true) WITH CHECK (true)")
        op.execute(f"REVOKE ALL ON {table} FROM experience_app, experience_system")
        op.execute(
            f"GRANT {SYSTEM_GRANTS.get(table, 'SELECT, INSERT, UPDATE, DELETE')} ON {table} TO experience_system"
        )
        if table in APP_GRANTS:
            visible = VISIBLE.get(table, f"tenant_id = {CALLER}")
            op.execute(f"CREATE POLICY tenant ON {table} TO experience_app USING ({visible})")
            op.execute(f"GRANT {APP_GRANTS[table]} ON {table} TO experience_app")
    op.execute("REVOKE ALL ON alembic_version FROM experience_app, experience_system")
    op.execute("GRANT SELECT ON alembic_version TO experience_app, experience_system")


def downgrade() -> None:
    """There is nothing before the first one."""
    raise NotImplementedError
