"""How many bytes an execution has moved, so that its limit holds over several runs.

Revision: 0014.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Old code leaves it as it is, which only makes it more patient."""
    op.execute("ALTER TABLE runtime.executions ADD COLUMN moved_bytes bigint NOT NULL DEFAULT 0")
