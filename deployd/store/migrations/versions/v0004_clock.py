"""The clock: schedules and their runs, freezes, approvals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text()),
        sa.Column("release", sa.Text()),
        sa.Column("at", sa.Text()),
        sa.Column("cron", sa.Text()),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("if_missed", sa.Text(), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("rollout", sa.Text()),
        sa.Column("wish", sa.JSON()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Text()),
        sa.Column("firing", sa.Text()),
        sa.Column("ended_by", sa.Text()),
    )
    op.create_index("schedules_by_state", "schedules", ["state", "next_at"])
    op.create_index("schedules_by_place", "schedules", ["app", "environment", "state"])
    op.create_table(
        "schedule_runs",
        sa.Column("schedule", sa.Text(), sa.ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("planned", sa.Text(), primary_key=True),
        sa.Column("fired", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("why", sa.Text()),
    )
    op.create_table(
        "freezes",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text()),
        sa.Column("ended_by", sa.Text()),
    )
    op.create_index("freezes_by_place", "freezes", ["app", "environment", "until"])
    op.create_table(
        "approvals",
        sa.Column("rollout", sa.Text(), sa.ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("by_another", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("until", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("activation", sa.Text()),
    )
    op.create_index("approvals_by_place", "approvals", ["app", "environment", "state"])
    op.create_table(
        "apscheduler_jobs",
        sa.Column("id", sa.Unicode(191), primary_key=True),
        sa.Column("next_run_time", sa.Float(25), index=True),
        sa.Column("job_state", sa.LargeBinary(), nullable=False),
    )
