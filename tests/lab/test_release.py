"""The promises, on real servers, with small apps: release, flip, rollback, under load, and apps that fail."""

from __future__ import annotations

import json
import signal
import time

import pytest

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support.world import World, no_request_failed


def test_release_and_status_and_rollback(world: World) -> None:
    """Three releases; a rollback goes to the last good one, says what it left, and skips what is marked bad."""
    first = world.release("1").last
    second = world.release("2").last

    assert (first["event"], first["outcome"], first["previous"]) == ("rollout_finished", "live", None)
    assert (second["outcome"], second["previous"]) == ("live", first["release"])
    assert {host["state"] for host in second["hosts"]} == {"live"}
    world.assert_live("2")
    status = world.status()
    assert (status["release"], status["previous"]) == (second["release"], first["release"])
    assert world.ask("/")[2]["x-deployd-release"] == second["release"]

    third = world.release("3").last
    back = world.run("rollback", "--json", "--yes").last

    assert (back["outcome"], back["release"], back["previous"]) == ("live", second["release"], third["release"])
    world.assert_live("2")
    again = world.run("rollback", "--json", "--yes").last
    assert again["release"] == first["release"]
    world.assert_live("1")


def test_releases_and_rollbacks_under_load_drop_nothing(world: World) -> None:
    """Promise 2: GETs on kept connections, through five flips."""
    first = world.release("1").last["release"]
    with world.load(pause=0.01) as told:
        for version in ("2", "3", "4"):
            world.release(version)
        world.run("rollback", first, "--yes")
        world.run("rollback", told.get("x") or world.run("releases", "--json").document[0]["id"], "--yes", check=None)

    no_request_failed(told)
    assert len(told["releases"]) >= 4


def test_posts_under_load_survive_releases_and_restarts(world: World) -> None:
    """A POST is never sent twice and never lost, while releases flip and the live one is restarted."""
    world.release("1")
    with world.load(method="POST", pause=0.01) as told:
        world.release("2")
        world.run("restart", "--yes")
        world.release("3")

    no_request_failed(told)


def test_a_killed_process_loses_no_get(world: World) -> None:
    """The socket is systemd's: a crash makes requests wait, not fail, except those it was just answering."""
    world.release("1")
    with world.load(connections=4) as told:
        for host in world.hosts:
            lab.run(
                hosts_lab(world.hosts),
                host.name,
                ["pkill", "-9", "-f", f"{world.name}/production/releases"],
                check=False,
            )
        time.sleep(3)

    assert told["failed"] == 0, told["failures"]


def test_instances_share_one_socket(world: World) -> None:
    world.write_toml("[run]\ninstances = 2\n")
    world.release("1")

    assert all(host["instances"] == 2 for host in world.status()["hosts"])


def test_variables_are_frozen_with_the_release(world: World) -> None:
    """A rollback brings its variables back; a value never shows in events or logs."""
    world.run("env", "set", "GREETING=-", stdin="c4n4ry-one")
    world.release("1")
    world.run("env", "set", "GREETING=-", stdin='c4n4ry "two" $HOME\nline')
    told = world.release("2")

    assert world.ask("/env?name=GREETING")[1] == 'c4n4ry "two" $HOME\nline'
    world.run("rollback", "--yes")
    assert world.ask("/env?name=GREETING")[1] == "c4n4ry-one"
    assert "c4n4ry" not in told.out + told.err
    listed = world.run("env", "list", "--json")
    assert "GREETING" in listed.out
    assert "c4n4ry" not in listed.out
    found = [path for path in world.state.rglob("*") if path.is_file() and b"c4n4ry" in path.read_bytes()]
    assert found == []


def test_a_release_is_read_only_and_has_its_own_cache(world: World) -> None:
    world.release("1")

    assert world.ask("/write")[1] in ("EROFS", "EACCES", "EPERM")
    assert world.ask("/cache")[1] == "1"


def test_old_assets_stay_and_public_files_follow_the_flip(world: World) -> None:
    world.release("1")
    world.release("2")

    status, _, headers = world.ask("/_next/static/chunk-1.js")
    assert status == 200
    assert "immutable" in headers["cache-control"]
    assert "last-modified" not in headers
    assert world.ask("/_next/static/%5Bslug%5D.js")[0] == 200
    assert world.ask("/robots.txt")[1] == "# 2\n"


def test_no_activate_leaves_it_prepared(world: World) -> None:
    world.release("1")
    told = world.release("2", "--no-activate").last

    assert told["outcome"] == "prepared"
    world.assert_live("1")
    world.run("rollback", told["release"], "--yes", check=None)


def test_plan_changes_nothing(world: World) -> None:
    before = {path for path in world.state.rglob("*") if "checkouts" in str(path) or "artifacts" in str(path)}
    told = world.run("release", "--artifact", world.artifact("1"), "--plan", "--json")

    assert told.document
    assert {path for path in world.state.rglob("*") if "checkouts" in str(path) or "artifacts" in str(path)} == before
    assert world.status()["release"] is None


def test_destroy_takes_all_of_it_off_the_hosts_after_a_yes(world: World) -> None:
    made = world.release("1").last["release"]
    plan = world.run("destroy", "--plan", "--json").document
    assert {(one["live"], one["releases"]) for one in plan["hosts"]} == {(made, 1)}
    assert "--yes" in world.run("destroy", check=2).err
    world.assert_live("1")

    done = world.run("destroy", "--yes", "--json").document

    assert [one["removed"] for one in done["hosts"]] == [True] * len(world.hosts)
    look = (
        "systemctl list-units --all --no-legend --plain 'deployd-{name}-*'; cd / && find srv/deployd/apps srv/deployd/incoming "
        "run/deployd etc/deployd/web etc/systemd var/cache -name '{name}*' ! -path '*/locks/*'"
    ).replace("{name}", world.name)
    for n, host in enumerate(world.hosts):
        assert lab.run(hosts_lab(world.hosts), host.name, ["sh", "-c", look]).text == ""
        assert world.ask("/", host=n)[0] == 404
    assert world.status()["release"] is None


def test_retention_keeps_what_was_live_and_prunes_the_rest(world: World) -> None:
    """`keep` counts releases that were live; a failed one does not push a good one out."""
    world.write_toml("[keep]\nreleases = 2\nfailed = 1\nskew_protection = '0s'\n[run]\nwarm = '0s'\n")
    ids = [world.release(str(n)).last["release"] for n in range(1, 4)]
    world.release("bad", health=500, check=1)
    fourth = world.release("4").last["release"]

    kept = [
        lab.run(
            hosts_lab(world.hosts), host.name, ["ls", f"/srv/deployd/apps/{world.name}/production/releases"]
        ).text.split()
        for host in world.hosts
    ]
    assert all(ids[0] not in names for names in kept)
    assert all({ids[2], fourth} <= set(names) for names in kept)
    world.run("rollback", "--yes")
    world.assert_live("3")


def test_waves_flip_one_host_after_another(world: World) -> None:
    world.write_toml('[rollout]\nstrategy = "batch"\nbatch = 1\npause = "1s"\n')
    world.release("1")
    flips = [event for event in world.release("2").events if event["event"] == "release_flipped"]

    assert len(flips) == len(world.hosts)
    assert abs(flips[1]["at"] - flips[0]["at"]) >= 0.9


def test_logs_show_all_hosts_merged(world: World) -> None:
    world.release("1")
    for n in range(len(world.hosts)):
        world.ask(f"/log?text=marker{n}", host=n)

    deadline = time.monotonic() + 60
    out = ""
    while time.monotonic() < deadline and not all(f"said marker{n}" in out for n in range(len(world.hosts))):
        out = world.run("logs", "-n", "50").out
        time.sleep(0.3)
    assert all(f"said marker{n}" in out for n in range(len(world.hosts)))
    assert all(host.name in out for host in world.hosts)


def test_exec_runs_as_the_apps_user_in_its_environment(world: World) -> None:
    world.run("env", "set", "GREETING=-", stdin="hello")
    world.release("1")

    told = world.run("exec", "--host", world.hosts[0].name, "--", "sh", "-c", "id -un; echo $GREETING; exit 3", check=3)
    assert "hello" in told.out
    assert "root" not in told.out
    words = ("a b", "$(id)", "$GREETING", "$$", "%h", "q'\"", "*")
    told = world.run("exec", "--host", world.hosts[0].name, "--", "printf", "%s\\n", *words)
    assert told.out.splitlines() == list(words)


def test_a_command_runs_once_before_a_release_and_its_failure_ends_it(world: World) -> None:
    world.run("env", "set", "GREETING=-", stdin="canary-5151")
    world.release("1")
    command = "node -p 'process.env.DEPLOYD_RELEASE'; echo $GREETING; id -u; exit"
    world.write_toml(f'[rollout]\nbefore = "{command} 0"\n')
    done = world.release("2")

    said = [(event["host"], event["line"]) for event in done.events if event["event"] == "command_output"]
    assert [host for host, _ in said] == [world.hosts[0].name] * 3
    release, secret, user = [line for _, line in said]
    assert (release, secret) == (done.last["release"], "***")
    assert int(user) > 60000
    world.assert_live("2")

    world.write_toml(f'[rollout]\nbefore = "{command} 4"\n')
    failed = world.release("3", check=1)
    assert failed.error["code"] == "before-failed"
    assert "canary-5151" not in failed.out + failed.err
    world.assert_live("2")


def test_everything_is_back_after_a_reboot(world: World) -> None:
    world.release("1")
    lab.reboot(hosts_lab(world.hosts), world.hosts[0].name)

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if world.ask("/")[1] == "version 1\n":
                break
        except OSError:
            time.sleep(0.3)
    world.assert_live("1")


def test_ctrl_c_cancels_cleanly(world: World) -> None:
    world.release("1")
    artifact = world.artifact("2", before="const until = Date.now() + 8000; while (Date.now() < until);")
    process = world.start("release", "--artifact", artifact, "--json")
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["outcome"] == "cancelled"
    world.assert_live("1")


def test_a_second_release_is_told_who_runs_the_first(world: World) -> None:
    """Exit 4, and a rollback takes over instead of waiting."""
    world.release("1")
    world.release("2")
    slow = world.artifact("3", before="const until = Date.now() + 12000; while (Date.now() < until);")
    process = world.start("release", "--artifact", slow, "--json")
    assert process.stdout
    while "rollout_started" not in process.stdout.readline():
        assert process.poll() is None
    told = world.release("4", check=4)

    assert str(process.pid) in told.error["what"]
    back = world.run("rollback", "--yes", "--json").last
    out, _ = process.communicate(timeout=60)
    assert json.loads(out.splitlines()[-1])["outcome"] in ("cancelled", "superseded")
    assert back["outcome"] == "live"
    world.assert_live("1")


@pytest.mark.parametrize(
    ("what", "code", "tells"),
    [
        ({"health": 503}, "probe-failed", "503"),
        ({"before": "process.exit(3);"}, "probe-failed", "exit"),
        ({"before": "throw new Error('boom at start');"}, "probe-failed", "boom at start"),
        ({"before": "setTimeout(() => 0, 1e6); return;"}, "probe-failed", ""),
    ],
)
def test_a_release_that_is_not_healthy_changes_nothing(
    world: World, what: dict[str, object], code: str, tells: str
) -> None:
    """The error has the address, the last status, how long it waited and the server's last lines; exit 1."""
    world.write_toml("")
    world.release("1")
    text = (world.app / "deployd.toml").read_text().replace('timeout = "15s"', 'timeout = "4s"')
    (world.app / "deployd.toml").write_text(text)
    with world.load() as load:
        told = world.release("2", check=1, **what)

    assert told.error["code"] == code
    assert told.error["host"] in {host.name for host in world.hosts}
    assert tells in json.dumps(told.error)
    assert told.last["outcome"] == "failed"
    no_request_failed(load)
    world.assert_live("1")


def running(world: World, release: str, *, host: int = 0) -> bool:
    """Whether a process of that release runs on a host."""
    pattern = f"releases/{release}/.deployd/node"
    found = lab.run(hosts_lab(world.hosts), world.hosts[host].name, ["pgrep", "-f", pattern], check=False)
    return found.returncode == 0


def test_the_release_before_stays_warm_as_long_as_asked(world: World) -> None:
    """Its processes are there right after the flip, are stopped when the time is over, and come back when asked for."""
    world.write_toml('[run]\nwarm = "3s"\n')
    first = world.release("1").last["release"]
    second = world.release("2").last["release"]

    assert running(world, first)
    deadline = time.monotonic() + 60
    while running(world, first) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not running(world, first)
    assert running(world, second)
    world.run("rollback", "--yes")
    world.assert_live("1")
    assert running(world, first)
