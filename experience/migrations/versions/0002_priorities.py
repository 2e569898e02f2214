"""Which of a tenant's intents go first.

A process of the release before goes on storing intents without one.
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; the grants of its table cover it."""
    op.execute(
        """
        ALTER TABLE intents
            ADD COLUMN priority TEXT NOT NULL DEFAULT 'normal',
            ADD CONSTRAINT intents_priority_check CHECK (priority IN ('low', 'normal', 'high'))
        """
    )


def downgrade() -> None:
    """Schemas only go forward."""
    raise NotImplementedError
