"""The engine forgets the steps of rollouts that are long over, once a day, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

from deployd.domain.events import quiet
from deployd.paths import StatePaths
from deployd.rollouts import tidying
from tests.faults.fleets import APP, PRODUCTION


def kept(fleet) -> set[str]:
    with closing(sqlite3.connect(fleet.state / "deployd.sqlite")) as plain:
        return {row[0] for row in plain.execute("SELECT workflow_uuid FROM workflow_status")}


def make_older(fleet, rollout: str, *, days: int) -> None:
    with closing(sqlite3.connect(fleet.state / "deployd.sqlite")) as plain, plain:
        plain.execute(
            "UPDATE workflow_status SET created_at = created_at - ? WHERE workflow_uuid = ?",
            (days * 86_400_000, rollout),
        )


def test_steps_of_rollouts_that_are_long_over_are_removed_once_a_day(released):
    fleet, _old = released
    first = rollouts(fleet)[0]
    assert fleet.run("release", "--commit", "two")[0] == 0
    second = rollouts(fleet)[0]
    assert {first, second} <= kept(fleet)
    (fleet.state / "tidied").unlink()
    make_older(fleet, first, days=31)
    make_older(fleet, second, days=29)
    assert fleet.run("release", "--commit", "three")[0] == 0
    third = rollouts(fleet)[0]
    assert kept(fleet) & {first, second, third} == {second, third}
    assert set(rollouts(fleet)) == {first, second, third}  # what was done stays known
    make_older(fleet, second, days=31)
    assert fleet.run("release", "--commit", "four")[0] == 0
    assert second in kept(fleet)  # it was done today


def test_only_what_is_known_to_be_over_is_forgotten(released, tmp_path):
    """An unfinished rollout keeps its steps however old it is; and what the store does not know is not ours."""
    fleet, _old = released
    over = rollouts(fleet)[0]
    fleet.run("release", "--commit", "two", fault="after:prepare=kill")
    left = rollouts(fleet)[0]
    forgotten: list[str] = []
    client = fleet.client()
    engine = SimpleNamespace(kept_before=lambda _: (over, left, "r-20200101-000000-000000"), forget=forgotten.extend)
    workshop = SimpleNamespace(durable=True, paths=StatePaths(tmp_path), store=client.store, engine=engine)
    assert tidying.tidy(workshop, report=quiet) == 1
    assert forgotten == [over]
    assert tidying.tidy(workshop, report=quiet) == 0  # once a day
    client.close()


def test_a_failure_to_tidy_is_a_warning(released, tmp_path):
    fleet, _old = released
    told = []

    def fail(_moment):
        raise OSError("No space left on device")

    client = fleet.client()
    workshop = SimpleNamespace(
        durable=True, paths=StatePaths(tmp_path), store=client.store, engine=SimpleNamespace(kept_before=fail)
    )
    assert tidying.tidy(workshop, report=lambda event, /, **fields: told.append(fields["code"])) == 0
    assert told == ["tidy-failed"]
    client.close()


def rollouts(fleet) -> list[str]:
    client = fleet.client()
    found = [str(one.id) for one in client.rollouts(APP, PRODUCTION)]
    client.close()
    return found
