"""Some of what holds for a daemon on SQLite, on PostgreSQL: the same tests, whose assertions are in their own modules.

What is asserted here, after each of them, is that PostgreSQL had what they did: a daemon that quietly went on with the
file in its state folder would pass all of them.
"""

from __future__ import annotations

import psycopg
import pytest

from tests.contract.test_daemon_life import (
    CLIENTS,
    test_a_command_beside_the_daemon_cannot_run_the_engine_itself,
    test_a_killed_release_never_overtakes_the_rollback_that_came_after_it,
    test_a_release_and_a_rollback_through_the_socket,
    test_sigterm_parks_what_takes_longer_and_the_next_start_goes_on_with_it,
)
from tests.contract.test_daemon_queue import (
    repository,
    test_a_push_replaces_those_of_its_branch_that_wait_and_a_key_counts_once,
)
from tests.support.daemons import Served

__all__ = [
    "repository",
    "test_a_command_beside_the_daemon_cannot_run_the_engine_itself",
    "test_a_killed_release_never_overtakes_the_rollback_that_came_after_it",
    "test_a_push_replaces_those_of_its_branch_that_wait_and_a_key_counts_once",
    "test_a_release_and_a_rollback_through_the_socket",
    "test_sigterm_parks_what_takes_longer_and_the_next_start_goes_on_with_it",
]


@pytest.fixture
def serve(tmp_path, postgres):
    """Starts daemons on one folder and one database; ends those that still run."""
    started: list[Served] = []
    url = postgres.database()

    def start(*, env=None, **options) -> Served:
        started.append(Served(tmp_path, env={**(env or {}), "DEPLOYD_DATABASE_URL": url}, **options))
        return started[-1]

    yield start
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        (done,) = connection.execute("SELECT count(*) FROM alembic_version").fetchone() or (0,)
    files = list(tmp_path.rglob("deployd.sqlite*"))
    while CLIENTS:
        CLIENTS.pop().close()
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.wait()
    assert done == 1  # made by the first daemon
    assert files == []
