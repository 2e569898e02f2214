"""Which nodes of an execution a person has answered for already: each is answered once.

Revision: 0011.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Old code leaves it empty, and goes by the question alone."""
    op.execute("ALTER TABLE runtime.executions ADD COLUMN answered json NOT NULL DEFAULT '{}'")
