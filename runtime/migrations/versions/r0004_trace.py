"""Which trace an execution belongs to, so that its runs can say so, on whatever worker and however much later.

Revision: 0004.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Old code leaves it out, and the runs of its executions begin traces of their own."""
    op.execute("ALTER TABLE runtime.executions ADD COLUMN trace_parent text")
