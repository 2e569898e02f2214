"""Which sandbox each worker has, so that whoever draws a workflow is told before it runs.

Revision: 0007.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No tenant's and no secret: every role reads it, and workers write it with the system role."""
    op.execute("""
        CREATE TABLE runtime.sandboxes (
            worker text PRIMARY KEY,
            backend text NOT NULL,
            reason text NOT NULL,
            seen_at timestamptz NOT NULL
        )
    """)
    op.execute("REVOKE INSERT, UPDATE, DELETE ON runtime.sandboxes FROM runtime_app")
