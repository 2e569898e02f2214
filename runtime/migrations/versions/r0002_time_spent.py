"""How long an execution has worked, so that its time limit holds over several runs and leaves out its waits.

Revision: 0002.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Old code leaves it at 0, which only makes it more patient."""
    op.execute("ALTER TABLE runtime.executions ADD COLUMN spent_s double precision NOT NULL DEFAULT 0")
