"""Variables that builds and servers both get."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what is there stays for one of the two."""
    op.add_column("variables", sa.Column("both", sa.Boolean(), nullable=False, server_default=sa.false()))
