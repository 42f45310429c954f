"""A daemon on a database that an earlier version left in the middle of a rollout: it migrates, settles it, and goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from deployd.paths import StatePaths
from deployd.store.tables import REVISION
from tests.faults.fleets import APP, PRODUCTION, wait_for
from tests.faults.test_clock_daemon import Served
from tests.faults.test_histories import place, thaw, written_by

__all__ = ["place"]

OLD = "2026-11-20"
"""What the first version wrote: tables of migration 0001, from before there was a daemon."""


@pytest.mark.parametrize(
    "name",
    ["release after build", "release in flip", "rollback after flip"],
)
def test_what_the_first_version_left_is_migrated_and_ended_by_the_daemon(place, server, name):
    assert any("0001" in line for line in written_by(OLD)["lines"] if "alembic_version" in line)
    fleet = thaw(OLD, name, place, server)
    daemon = Served(fleet)
    try:
        daemon.start()
        wait_for(lambda: all(one.finished for one in daemon.client.rollouts(APP, PRODUCTION)))
        last = daemon.client.rollouts(APP, PRODUCTION)[0]
        fleet.assert_settled()
        fleet.assert_complete()
        assert len(set(fleet.live.values())) == 1, fleet.live
        assert last.outcome == "live", last.error
        assert set(fleet.live.values()) == {last.release}
        assert daemon.release("next").outcome == "live"
    finally:
        daemon.end()
    with closing(sqlite3.connect(StatePaths(fleet.state).database)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchone() == (REVISION,)
