"""What each worker says of tenants that are together on it, beside how it shuts in browsers and code.

Revision: 0013.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty where nothing is wrong, so that a worker of before may go on without saying it."""
    op.execute("ALTER TABLE runtime.sandboxes ADD COLUMN tenants text NOT NULL DEFAULT ''")
