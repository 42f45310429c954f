"""The daemon has the engine forget what is long over: once a day, by itself, and nothing that is not."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from tests.contract.test_daemon_life import client_of, release, serve

__all__ = ["serve"]


def kept(served) -> set[str]:
    with closing(sqlite3.connect(served.state / "deployd.sqlite")) as plain:
        return {row[0] for row in plain.execute("SELECT workflow_uuid FROM workflow_status")}


def make_older(served, rollout: str, *, days: int) -> None:
    with closing(sqlite3.connect(served.state / "deployd.sqlite")) as plain, plain:
        plain.execute(
            "UPDATE workflow_status SET created_at = created_at - ? WHERE workflow_uuid = ?",
            (days * 86_400_000, rollout),
        )


def test_a_daemon_forgets_the_steps_of_old_rollouts_once_a_day(serve):
    served = serve()
    first, second = release(served, "one").rollout, release(served, "two").rollout
    served.close()
    assert kept(served) == {first, second}
    (served.state / "tidied").unlink()
    make_older(served, first, days=31)
    make_older(served, second, days=29)

    again = serve()
    deadline = time.monotonic() + 60
    while not again.told("steps_forgotten") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kept(again) == {second}
    assert again.told("steps_forgotten")[0]["rollouts"] == 1
    known = {one.id for one in client_of(again).rollouts()}
    assert {first, second} <= known  # what was done stays known
    make_older(again, second, days=31)
    third = release(again, "three").rollout
    again.close()
    assert kept(again) == {second, third}  # it was done today
