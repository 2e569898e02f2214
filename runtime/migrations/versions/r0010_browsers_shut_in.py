"""How each worker's browsers are shut in, beside what shuts its code in.

Revision: 0010.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty where nothing is wrong, so that a worker of before may go on without saying it."""
    op.execute("ALTER TABLE runtime.sandboxes ADD COLUMN browsers text NOT NULL DEFAULT ''")
