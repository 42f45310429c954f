"""`schedule`, `freeze`, `approvals`, `confirm` and `watch` as typed, on a real store and without a daemon."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from deployd.cli import main
from deployd.cli.render import Screen
from deployd.cli.schedule import at_home, local_zone
from deployd.client import Client
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.domain.schedule import Approval, Schedule, way_back_id
from deployd.paths import StatePaths
from deployd.rollouts import guarding
from deployd.rollouts.wishes import RollbackWish, RolloutResult, wish_to_json
from deployd.store.events import StoredEvent
from deployd.store.moments import now, text_of

SHOP, PRODUCTION = AppName("shop"), EnvironmentName("production")
ROLLOUT = RolloutId("r-20261121-101530-k2x7ab")
RELEASE = ReleaseId("20261121-101530-3fa9c01-k2x7")


@pytest.fixture
def world(app, tmp_path, monkeypatch):
    """Run commands on a state folder; `.client` looks at the same store."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    client = Client(StatePaths(tmp_path / "state"), who="ada")

    class World:
        store = client.store

        @staticmethod
        def run(*argv: str, stdout: io.StringIO | None = None) -> tuple[int, str, str]:
            screen = Screen(stdin=io.StringIO(), stdout=stdout or io.StringIO(), stderr=io.StringIO())
            made = Client(StatePaths(tmp_path / "state"), who="ada")
            code = main.run([*argv], make_client=lambda *_: made, screen=screen)
            return code, screen.stdout.getvalue(), screen.stderr.getvalue()

    yield World
    client.close()
    monkeypatch.undo()
    time.tzset()


def rolled_out(store, *, finished: bool = True) -> None:
    wish = RollbackWish(app=SHOP, environment=PRODUCTION, hosts=(), options=_options())
    store.rollouts.add(
        ROLLOUT, kind="rollback", app=SHOP, environment=PRODUCTION, state="waiting", who="ada", owner="1:1:x",
        wish=wish_to_json(wish), release=RELEASE,
    )  # fmt: skip
    store.events.add([_event(1, "rollout_started", kind="rollback", app="shop", environment="production", hosts=[])])
    if finished:
        end(store)


def end(store, outcome: str = "live") -> None:
    result = RolloutResult(
        rollout=ROLLOUT, release=RELEASE, outcome=outcome, previous=None, duration_s=1.0, flip_s=0.01
    )  # fmt: skip
    store.events.add([_event(2, "rollout_finished", **result.to_json())])
    store.rollouts.finish(ROLLOUT, state=outcome, outcome=outcome, result=result.to_json(), error=None)


def _event(seq: int, name: str, **fields) -> StoredEvent:
    return StoredEvent(rollout=ROLLOUT, seq=seq, time=now(), event=name, fields=fields)


def _options():
    from deployd.domain.options import Options

    return Options()


def test_a_schedule_says_its_next_runs_and_that_nobody_keeps_it(world):
    code, out, err = world.run("schedule", "rollback", "--cron", "0 4 * * 1-5", "--timezone", "Europe/Berlin")
    assert code == 0
    first, *then = out.splitlines()
    assert "rollback of shop production" in first
    assert " 04:00 +0" in first
    assert len([line for line in then if line.startswith("  then ")]) == 2
    assert not {"Sat", "Sun"} & set(out.split())
    assert "nothing happens at these times until `deployd serve` runs" in err


def test_the_zone_of_this_machine_is_the_default(world):
    code, out, _ = world.run("schedule", "rollback", "--in", "2h", "--json")
    made = json.loads(out)
    assert (code, made["timezone"], made["if_missed"], made["kind"]) == (0, "Europe/Berlin", "run", "rollback")
    expected = datetime.now(UTC) + timedelta(hours=2)
    assert abs(datetime.fromisoformat(made["next_runs"][0]) - expected) < timedelta(minutes=1)
    assert local_zone() == "Europe/Berlin"


def test_list_and_cancel(world):
    assert world.run("schedule", "list")[1].strip() == "nothing is scheduled for shop"
    made = json.loads(world.run("schedule", "rollback", "--at", "tomorrow 04:00", "--json")[1])
    code, out, _ = world.run("schedule", "list")
    assert code == 0
    assert made["id"] in out
    assert "once (Europe/Berlin)" in out
    assert "04:00" in out
    assert [one["id"] for one in json.loads(world.run("schedule", "list", "--json")[1])] == [made["id"]]
    assert json.loads(world.run("schedule", "list", "-e", "staging", "--json")[1]) == []
    assert world.run("schedule", "cancel", made["id"])[0] == 0
    code, _, err = world.run("schedule", "cancel", made["id"])
    assert (code, "is over: cancelled by ada" in err) == (4, True)
    assert "cancelled" in world.run("schedule", "list", "--all")[1]
    assert [one.action for one in world.store.audit.latest()] == ["cancel schedule", "schedule"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rollback"], "--at, --in or --cron"),
        (["rollback", "--in", "1h", "--at", "04:00"], "needs one time"),
        (["rollback", "--at", "2020-01-01 04:00"], "is over"),
        (["rollback", "--in", "soon"], "is not a duration"),
        (["rollback", "--cron", "0 4 1 * 1"], "days and weekdays"),
        (["rollback", "--cron", "0 4 * * 8"], "no weekday"),
        (["rollback", "--in", "1h", "--timezone", "Berlin"], "no time zone 'Berlin'"),
        (["rollback", "--in", "1h", "--if-missed", "maybe"], "--if-missed run or --if-missed skip"),
        (["release", "--in", "1h"], "shop is not registered"),
        (["promote", "--release", "nope", "--to", "staging", "--in", "1h"], "no release 'nope'"),
    ],
)
def test_what_cannot_be_scheduled_is_said(world, words, says):
    code, _, err = world.run("schedule", *words)
    assert code == 2
    assert says in err
    assert not world.store.schedules.latest()


def test_a_scheduled_release_takes_the_branch_of_its_environment(world):
    world.store.apps.put(SHOP, repository="https://git.example/shop", subdir="", who="ada")
    made = json.loads(world.run("schedule", "release", "--cron", "0 4 * * 1-5", "--json")[1])
    assert (made["ref"], made["if_missed"]) == ("main", "skip")


def test_run_now_needs_a_daemon(world):
    made = json.loads(world.run("schedule", "rollback", "--in", "2h", "--json")[1])
    code, _, err = world.run("schedule", "run-now", made["id"])
    assert (code, "only the daemon runs schedules" in err) == (2, True)


def test_freeze_list_unfreeze(world):
    code, out, _ = world.run("freeze", "--for", "2h", "--reason", "the holidays")
    assert (code, "shop production is frozen until" in out) == (0, True)
    assert "the holidays" in world.run("freeze", "list")[1]
    code, _, err = world.run("release", "--dirty", "-y")
    assert (code, "frozen until" in err, "--during-freeze" in err) == (5, True, True)
    assert json.loads(world.run("unfreeze", "--json")[1]) == {"ended": 1}
    assert world.run("freeze", "list")[1].strip() == "nothing of shop is frozen"
    assert world.run("freeze")[0] == 2
    assert world.run("freeze", "now")[0] == 2


def test_approvals_and_reject(world):
    rolled_out(world.store)
    until = text_of(datetime.now(UTC) + timedelta(hours=1))
    world.store.approvals.add(
        Approval(
            rollout=ROLLOUT, app=SHOP, environment=PRODUCTION, release=RELEASE, asked_by="bob", by_another=True,
            created=now(), until=until, state="pending",
        )
    )  # fmt: skip
    code, out, _ = world.run("approvals")
    assert (code, RELEASE in out, "bob" in out) == (0, True, True)
    assert world.run("reject", "--reason", "no")[0] == 0
    assert json.loads(world.run("approvals", "--json")[1]) == []
    assert json.loads(world.run("approvals", "--all", "--json")[1])[0]["state"] == "rejected"
    code, _, err = world.run("approve", ROLLOUT)
    assert (code, "ada rejected it" in err) == (1, True)
    assert world.run("approve")[0] == 2


def armed(store, *, seconds: float) -> Schedule:
    wish = RollbackWish(app=SHOP, environment=PRODUCTION, hosts=(), options=_options(), release=RELEASE)
    at = text_of(datetime.now(UTC) + timedelta(seconds=seconds))
    made = Schedule(
        id=way_back_id(ROLLOUT), app=SHOP, environment=PRODUCTION, kind="rollback", purpose="unconfirmed", at=at,
        release=RELEASE, rollout=ROLLOUT, wish=wish_to_json(wish), who="ada", created=now(), next_at=at,
    )  # fmt: skip
    store.schedules.add(made)
    return made


def test_confirm(world):
    armed(world.store, seconds=600)
    code, _, err = world.run("schedule", "cancel", way_back_id(ROLLOUT))
    assert (code, "deployd confirm" in err) == (2, True)
    code, out, _ = world.run("confirm")
    assert (code, "is confirmed: it stays live" in out) == (0, True)
    code, _, err = world.run("confirm", ROLLOUT)
    assert (code, "waits for no confirmation" in err) == (2, True)


def test_without_a_daemon_the_command_goes_back_itself_once(world):
    rolled_out(world.store)
    world.store.live_log.add(SHOP, PRODUCTION, release=RELEASE, rollout=ROLLOUT)
    armed(world.store, seconds=0.3)
    gone_back = []

    def back(wish):
        gone_back.append(wish.release)
        return RolloutResult(
            rollout=ROLLOUT, release=RELEASE, outcome="live", previous=None, duration_s=0.1, flip_s=None
        )  # fmt: skip

    assert guarding.guard(world.store, ROLLOUT, leave=threading.Event(), back=back) is not None
    assert guarding.guard(world.store, ROLLOUT, leave=threading.Event(), back=back) is None
    assert gone_back == [RELEASE]
    assert world.store.schedules.get(way_back_id(ROLLOUT)).state == "done"


def test_a_guard_that_leaves_or_is_told_yes_goes_nowhere(world):
    armed(world.store, seconds=600)
    leave = threading.Event()
    leave.set()
    assert guarding.guard(world.store, ROLLOUT, leave=leave, back=lambda _: pytest.fail("it went back")) is None
    assert world.store.schedules.get(way_back_id(ROLLOUT)).state == "active"
    world.store.schedules.end(way_back_id(ROLLOUT), "confirmed", who="bob")
    never = threading.Event()
    assert guarding.guard(world.store, ROLLOUT, leave=never, back=lambda _: pytest.fail("it went back")) is None


def test_watch_tells_the_events_of_another_process_until_the_end(world):
    class Told(io.StringIO):
        """Once it is told that its process is gone, the rollout ends."""

        def write(self, text: str) -> int:
            if "owner-gone" in text:
                end(world.store)
            return super().write(text)

    rolled_out(world.store, finished=False)
    code, out, _ = world.run("watch", "--json", stdout=Told())
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["event"] for event in events] == ["rollout_started", "warning", "rollout_finished"]
    assert [event["seq"] for event in events if event["event"] != "warning"] == [1, 2]
    assert events[1]["code"] == "owner-gone"


def test_watch_ends_as_the_rollout_did(world):
    rolled_out(world.store, finished=False)
    end(world.store, "failed")
    assert world.run("watch", ROLLOUT)[0] == 1
    assert world.run("watch", "r-20261121-101530-000000")[0] == 2


def test_moments_are_shown_in_their_zone():
    assert at_home("2026-10-25T00:30:00.000Z", "Europe/Berlin") == "Sun 2026-10-25 02:30 +0200"
    assert at_home("2026-10-25T01:30:00.000Z", "Europe/Berlin") == "Sun 2026-10-25 02:30 +0100"
