"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "hosts",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("admin_user", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text()),
        sa.Column("host_key", sa.Text(), nullable=False),
        sa.Column("added", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
    )
    op.create_table(
        "live_log",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.UniqueConstraint("rollout", name="live_log_rollout"),
    )
    op.create_index("live_log_by_place", "live_log", ["app", "environment", "id"])
    op.create_table(
        "pins",
        sa.Column("app", sa.Text(), primary_key=True),
        sa.Column("environment", sa.Text(), primary_key=True),
        sa.Column("release", sa.Text()),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("build_id", sa.Text(), nullable=False),
        sa.Column("runtime", sa.Text(), nullable=False),
        sa.Column("commit", sa.Text()),
        sa.Column("branch", sa.Text()),
        sa.Column("subject", sa.Text()),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("live_at", sa.Text()),
        sa.Column("provenance", sa.JSON(), nullable=False),
    )
    op.create_index("releases_by_build", "releases", ["build_id"])
    op.create_index("releases_by_place", "releases", ["app", "environment", "created"])
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("release", sa.Text()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("finished", sa.Text()),
        sa.Column("outcome", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("cancel_requested", sa.Text()),
        sa.Column("superseded_by", sa.Text()),
        sa.Column("touched", sa.Boolean(), nullable=False),
        sa.Column("intent", sa.JSON()),
        sa.Column("error", sa.JSON()),
        sa.Column("result", sa.JSON()),
        sa.Column("wish", sa.JSON(), nullable=False),
        sa.UniqueConstraint("number", name="rollouts_number"),
    )
    op.create_index("rollouts_by_place", "rollouts", ["app", "environment", "number"])
    op.create_index("rollouts_by_state", "rollouts", ["state"])
    op.create_table(
        "variables",
        sa.Column("app", sa.Text(), primary_key=True),
        sa.Column("environment", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("build", sa.Boolean(), nullable=False),
        sa.Column("managed", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("rollout", sa.Text(), sa.ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("time", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column("release", sa.Text(), sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
    )
    op.create_table(
        "release_variables",
        sa.Column("release", sa.Text(), sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
