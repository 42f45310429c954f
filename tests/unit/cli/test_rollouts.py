"""Releases and rollbacks: what is asked of the client, what is drawn, the events, and how each outcome ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from deployd import process
from deployd.cli.outcome import EXIT_CODES
from deployd.domain.events import Event
from deployd.domain.release import Mark
from deployd.errors import CancelledError, ProbeError, UnreachableError
from deployd.rollouts.wishes import Outcome

R1 = "20261120-101530-aaaaaaa-aaaa"
R2 = "20261121-101530-3fa9c01-k2x7"
ROLLOUT = "r-20261121-101530-k2x7ab"
NOW = "2026-11-21T10:15:30.000Z"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events(done):
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_release_asks_for_what_is_checked_out(deployd, app, client):
    done = deployd("release", "-m", "price", "--timeout", "20m", "--no-cache")

    assert done.exit == 0
    (wish,) = client.wishes
    assert (wish.app, wish.environment, wish.hosts) == ("shop", "production", ("web1", "web2"))
    assert (wish.source.repository, wish.source.subdir, wish.source.ref) == (str(app), "", "HEAD")
    assert (wish.message, wish.timeout, wish.use_cache, wish.activate) == ("price", 1200.0, False, True)


def test_an_app_in_a_folder_of_its_repository(deployd, app, client, monkeypatch):
    below = app / "apps" / "shop"
    below.mkdir(parents=True)
    (app / "deployd.toml").rename(below / "deployd.toml")
    monkeypatch.chdir(below)

    assert deployd("release", "v1.2").exit == 0
    source = client.wishes[0].source
    assert (source.repository, source.subdir, source.ref) == (str(app), "apps/shop", "v1.2")


def test_plain_output_of_a_release(deployd, app):
    """What a pipe gets: one line an event, then one line that says how it ended."""
    done = deployd("release")

    assert done.out == (
        "→           release shop/production on web1, web2\n"
        "→ web1      lacks 3 files, 4.0 kB\n"
        "→ web1      sealed, 10 files, 7 linked files, 4.0 kB sent, 200 ms\n"
        "→ web2      lacks 3 files, 4.0 kB\n"
        "→ web2      sealed, 10 files, 7 linked files, 4.0 kB sent, 200 ms\n"
        "✓ ship      400 ms\n"
        f"✓ web1      live, rename 0.18 ms, before: {R1}\n"
        f"✓ web2      live, rename 0.18 ms, before: {R1}\n"
        f"✓ live on 2 hosts in 14.2 s  (flip 9 ms)  {R2}\n"
    )
    assert "deployd rollback" in done.err


def test_a_terminal_gets_a_picture(deployd, app):
    done = deployd("release", terminal=True)

    assert done.exit == 0
    assert "\x1b[" in done.out
    assert "live on 2 hosts in 14.2 s" in done.out


def test_json_events_one_a_line(deployd, app):
    done = deployd("release", "--json")

    found = events(done)
    assert done.err == ""
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    assert all(list(event)[:5] == ["v", "seq", "event", "time", "rollout"] for event in found)
    assert {event["rollout"] for event in found} == {ROLLOUT}
    last = found[-1]
    assert last["event"] == "rollout_finished"
    assert last | {"v": 1, "seq": 0, "time": ""} == {
        "v": 1,
        "seq": 0,
        "event": "rollout_finished",
        "time": "",
        "rollout": ROLLOUT,
        "release": R2,
        "outcome": "live",
        "previous": R1,
        "duration_s": 14.2,
        "flip_s": 0.009,
        "hosts": [{"name": name, "release": R2, "state": "live"} for name in ("web1", "web2")],
    }


def test_uncommitted_work_is_named_and_not_shipped(deployd, app, client):
    (app / "page.tsx").write_text("new")
    client.uncommitted = ["page.tsx"]
    sentence = "uncommitted work is not shipped: page.tsx (--dirty ships it)"

    assert sentence in deployd("release").out
    assert sentence in deployd("release", "--plan").err
    assert client.wishes[0].source.dirty is False
    client.uncommitted = []
    assert "not shipped" not in deployd("release", "--dirty").out
    assert "not shipped" not in deployd("release", "--plan", "--dirty").err
    assert client.wishes[1].source.dirty is True


def test_another_branch_is_asked_about_on_a_terminal_only(deployd, app, client):
    process.run(["git", "-C", str(app), "switch", "-q", "-c", "draft"])

    assert "this is branch draft; production is for main" in deployd("release").err
    assert len(client.wishes) == 1
    assert deployd("release", terminal=True, stdin="n\n").exit == 2
    assert len(client.wishes) == 1
    assert deployd("release", "draft", terminal=True).exit == 0


@pytest.mark.parametrize("ref", ["", " ", "-", "--upload-pack=x"])
def test_a_ref_that_is_none_is_wrong_usage_and_not_what_is_checked_out(deployd, app, client, ref):
    done = deployd("release", "--", ref)

    assert (done.exit, client.wishes) == (2, [])
    assert "ref-invalid" in done.err


def test_a_plan_changes_nothing(deployd, app, client):
    done = deployd("release", "--plan")

    assert client.wishes == []
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["WHERE", "STAGE", "WHAT", "WHY"]
    assert lines[1][:3] == ["this", "machine", "build"]
    assert lines[2] == ["web1", "flip", "to", R2, "it", "is", "prepared"]
    assert "nothing was changed" in done.out
    assert "deployd release draft/1" in deployd("release", "draft/1", "--plan").err
    assert [action["host"] for action in json.loads(deployd("release", "--plan", "--json").out)["actions"]] == [
        None,
        "web1",
        "web2",
    ]


def test_an_artifact_file(deployd, app, client):
    (app / "shop.tar.gz").write_bytes(b"")

    assert deployd("release", "--artifact", "shop.tar.gz").exit == 0
    assert (client.wishes[0].source, client.wishes[0].artifact_file) == (None, str(app / "shop.tar.gz"))
    for argv in (
        ("--artifact", "gone.tar.gz"),
        ("v1", "--artifact", "shop.tar.gz"),
        ("v1", "--dirty"),
        ("--detach",),
        ("--timeout", "soon"),
    ):
        assert deployd("release", *argv).exit == 2


def test_outside_of_a_repository_it_says_so(deployd, app, client):
    process.run(["rm", "-r", str(app / ".git")])
    done = deployd("release")

    assert done.exit == 2
    assert "is in no git repository" in done.err


@pytest.mark.parametrize("outcome", Outcome.__args__)
def test_each_outcome_has_its_exit_code(deployd, app, client, outcome):
    client.outcome = outcome
    expected = {
        "live": 0,
        "prepared": 0,
        "waiting": 0,
        "failed": 1,
        "partly_live": 3,
        "cancelled": 130,
        "superseded": 7,
    }

    assert deployd("release").exit == deployd("release", "--json").exit == expected[outcome]
    assert expected == EXIT_CODES


def test_a_failed_release_ends_with_the_error(deployd, app, client):
    client.fail = ProbeError("not healthy", host="web1", live=f"{R1} on web1, web2", fix="see the log", details="boom")
    done = deployd("release")

    assert done.exit == 1
    assert f"live  {R1} on web1, web2" in done.err
    document = deployd("release", "--json")
    assert json.loads(document.err)["error"]["code"] == "probe-failed"


def test_rollback_names_no_release_or_one_by_any_end(deployd, app, client):
    assert deployd("rollback").exit == 0
    assert client.wishes[-1].release is None
    for text in (R1, "aaaa", "aaaaaaa-aaaa"):
        assert deployd("rollback", text).exit == 0
        assert client.wishes[-1].release == R1
    done = deployd("rollback", "zzzz")

    assert done.exit == 2
    assert "no release 'zzzz'" in done.err
    assert R2 in done.err


def test_rollback_says_what_it_left_behind(deployd, app, client):
    done = deployd("rollback")

    assert f"✓ back on 2 hosts in 14.2 s  (flip 9 ms)  {R2}\n" in done.out
    assert f"{R1} is marked bad" in done.err


def test_promote_takes_the_other_environments_hosts(deployd, app, client):
    assert deployd("promote", "k2x7", "--to", "staging").exit == 0
    wish = client.wishes[-1]
    assert (wish.release, wish.environment, wish.hosts) == (R2, "staging", ("web1",))
    assert deployd("promote", "k2x7", "--to", "stagin").exit == 2


def test_marks_and_pins(deployd, app, client):
    assert deployd("mark", "bad", "k2x7").exit == 0
    assert client.made[0].mark is Mark.BAD
    assert json.loads(deployd("pin", "--json").out)["pin"]["who"] == "ada"
    assert "pinned" in deployd("status").out
    assert json.loads(deployd("unpin", "--json").out) == {"pin": None, "was_pinned": True}


def test_destroy_says_what_goes_and_needs_a_yes(deployd, app, client):
    plan = deployd("destroy", "--plan")
    assert plan.exit == 0
    assert all(text in plan.out for text in ("would be taken off web1, web2", R1, "shop.example", "--data"))
    assert deployd("destroy", "--host", "web2", "--plan", "--json").out.count('"host"') == 1
    gone = deployd("destroy", "-e", "staging", "--host", "web2", "--plan")
    assert "would be taken off web2" in gone.out
    assert "stays: the app on web1" in gone.out

    asked = deployd("destroy")
    assert (asked.exit, client.destroyed) == (2, [])
    assert "--yes" in asked.err
    assert deployd("destroy", terminal=True, stdin="n\n").exit == 2
    assert client.destroyed == []

    done = deployd("destroy", terminal=True, stdin="y\n")
    assert done.exit == 0
    assert "shop production is off web1, web2" in done.out
    assert json.loads(deployd("destroy", "-y", "--json", "--host", "web1", "--data").out)["hosts"][0]["removed"] is True
    assert client.destroyed == [(("web1", "web2"), True, False), (("web1",), False, True)]


def test_upkeep(deployd, app, client):
    assert "1 release removed, 4.0 kB freed" in deployd("prune").out
    assert json.loads(deployd("prune", "--json").out)["hosts"][0]["removed"] == [R1]
    assert json.loads(deployd("restart", "--host", "web2", "--json").out) == {"restarted": ["web2"]}
    assert "nothing was interrupted" in deployd("resume").out
    assert ROLLOUT in deployd("cancel").out
    assert deployd("cancel", "r-1").exit == 2
    assert json.loads(deployd("rollouts", "--json").out)[0]["outcome"] == "live"


def test_unlock_says_who_and_asks(deployd, app, client):
    from deployd.rollouts.wishes import LockState

    assert "nobody holds the lock" in deployd("unlock").out
    client.held = [
        LockState(
            host="web1",
            held=True,
            owner="ada",
            since=(datetime.now(UTC) - timedelta(seconds=65)).isoformat(),
            rollout=ROLLOUT,
        ),
        LockState(host="web2", held=False),
    ]
    done = deployd("unlock", "--yes")

    assert re.search(f"web1: held by ada, taken 1 m (0[5-9]|[1-5][0-9]) s ago, for {ROLLOUT}", done.err)
    assert client.unlocked == ["web1"]


def kill_when_it_runs(client, number: int) -> None:
    def strike() -> None:
        while not client.wishes:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=strike, daemon=True).start()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_cleanly_in_a_pipe(deployd, app, client, number, code):
    client.waits = threading.Event()
    client.fail = CancelledError("cancelled", fix="release again", live=f"{R1} on web1, web2")
    kill_when_it_runs(client, number)
    done = deployd("release")

    assert done.exit == code
    assert "cancelled" in done.err
    assert f"live  {R1}" in done.err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_terminal_is_asked_once_before_it_is_cancelled(deployd, app, client):
    client.waits = threading.Event()
    client.fail = CancelledError("cancelled", fix="release again")
    kill_when_it_runs(client, signal.SIGINT)
    done = deployd("release", terminal=True, stdin="y\n")

    assert done.exit == 130
    assert "Cancel this release? What is live stays live. [y/N]" in done.err


def test_every_event_can_be_drawn_with_nothing_in_it():
    """An event of another version must not break the drawing."""
    from deployd.cli.live import LiveView, PlainView
    from deployd.cli.render import Screen

    for kind in (PlainView, LiveView):
        screen = Screen(stdin=Terminal(), stdout=Terminal(), stderr=Terminal())
        with kind(screen) as view:
            for event in Event:
                view(event)
                view(event, host="web1", stage="ship", files=None, removed=[], status="x", hosts=[{"name": "web1"}])


def test_what_waits_is_listed_with_its_reason_and_a_rollout_is_shown_step_by_step(deployd, app, client):
    asked = {
        "id": ROLLOUT, "kind": "release", "created": NOW, "who": "a push", "reason": "rollout r-1 runs", "cause": "push",
        "branch": "main", "app": "shop", "environment": "production", "outcome": None, "state": "waiting",
        "finished": None, "error": None,
    }  # fmt: skip
    client.in_queue = [asked]
    listed = deployd("rollouts").out
    assert "waiting" in listed
    assert "rollout r-1 runs" in listed

    happening = {"time": NOW, "event": "release_prepared", "host": "web1", "fields": {"seconds": 0.2}}
    error = {"class": "ProbeError", "fields": {"what": "it answered 500", "host": "web2"}}
    client.told = {
        "ask": asked,
        "rollout": {**asked, "release": R1, "outcome": "failed", "error": error, "superseded_by": None},
        "steps": [{"name": "prepare", "began": NOW, "seconds": 1.5, "ok": False, "happenings": [happening]}],
    }
    shown = deployd("show", ROLLOUT).out
    for word in ("prepare", "1.5 s", "web1", "release prepared, seconds 0.2", "web2: it answered 500", "push main"):
        assert word in shown
    assert json.loads(deployd("show", ROLLOUT, "--json").out)["rollout"]["release"] == R1


def test_a_rollback_past_a_host_that_is_away_is_told_with_the_command(deployd, app, client):
    client.fail = UnreachableError("web2 does not answer", host="web2", fix="wait")
    done = deployd("rollback")
    assert done.exit == UnreachableError.exit_code
    assert "wait; the others go back without it by `deployd rollback --host web1`" in done.err

    client.fail = UnreachableError("gone", host="web2", fix="wait", details="web1 (192.0.2.1) does not answer")
    assert "without it" not in deployd("rollback").err


def test_the_line_of_a_bake_says_what_was_seen_last():
    from deployd.cli.live import PlainView
    from deployd.cli.render import Screen

    lines: list[str] = []
    with PlainView(Screen(stdin=Terminal(), stdout=Terminal(), stderr=Terminal()), write=lines.append) as view:
        view(Event.STAGE_STARTED, stage="bake")
        for left, said in ((60, "5xx 0 % of 20 requests"), (30, "5xx 0 % of 50 requests")):
            view(Event.BAKE_LOOKED, seconds_left=left, what=said)
        view(Event.STAGE_FINISHED, stage="bake", seconds=60)
    assert len(lines) == 1
    assert "of 50 requests" in lines[0]
    assert "of 20 requests" not in lines[0]
