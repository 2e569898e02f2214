"""Which trace an intent belongs to: it may be handed over long after its request is gone."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Old code leaves it out."""
    op.execute("ALTER TABLE intents ADD COLUMN trace_parent text")


def downgrade() -> None:
    """Forward only."""
    raise NotImplementedError
