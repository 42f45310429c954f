"""Bad input and bad weather: a clear error with host, cause, what is live and what to do; the old release serves on."""

from __future__ import annotations

import subprocess
import time

import pytest

from deployd import lab
from deployd.hosts.keys import ensure_ssh_key
from deployd.paths import StatePaths
from tests.lab.conftest import hosts_lab
from tests.support.world import World, fingerprint, no_request_failed


def on(world: World, n: int, *argv: str, check: bool = True) -> str:
    """Run a command as root on a host."""
    return lab.run(hosts_lab(world.hosts), world.hosts[n].name, list(argv), check=check, timeout=60).text


def complete(error: dict[str, str]) -> None:
    """Every error says what, and what to do."""
    assert error["what"]
    assert error["fix"]


def test_an_unknown_host_is_named(world: World) -> None:
    world.write_toml(hosts=["web9"])
    told = world.release("1", check=2)

    complete(told.error)
    assert "web9" in told.error["what"]


def test_a_changed_host_key_is_refused(make_lab, tmp_path) -> None:
    """Another key at a known address (the lab was made anew): exit 6, both fingerprints, nothing tried."""
    made = make_lab(hosts=1)
    world = World(folder=tmp_path, hosts=lab.status(made.name), state=tmp_path / "state")
    world.add_hosts()
    ensure_ssh_key(StatePaths(world.state))
    lab.down(made.name)
    lab.up(made.name, hosts=1)
    told = world.release("1", check=6)

    complete(told.error)
    assert told.error["code"] == "host-key-changed"
    assert told.error["host"] == world.hosts[0].name
    assert fingerprint(world.hosts[0].host_key) in str(told.error["details"])
    assert fingerprint(lab.status(made.name)[0].host_key) in str(told.error["details"])


def test_a_host_that_is_down_stops_a_release_before_anything(world: World) -> None:
    world.release("1")
    lab.cut(hosts_lab(world.hosts), world.hosts[1].name)
    try:
        told = world.release("2", check=6)
    finally:
        lab.mend(hosts_lab(world.hosts), world.hosts[1].name)

    complete(told.error)
    assert told.error["host"] == world.hosts[1].name
    assert told.last["outcome"] == "failed"
    world.assert_live("1")


def test_a_host_that_goes_down_in_the_middle_leaves_the_old_release(world: World) -> None:
    """The wire is cut while the release starts on the hosts: everything stays as it was."""
    world.release("1")
    slow = world.artifact("2", before="const until = Date.now() + 5000; while (Date.now() < until);")
    process = world.start("release", "--artifact", slow, "--json")
    time.sleep(3)
    lab.cut(hosts_lab(world.hosts), world.hosts[1].name)
    try:
        _, err = process.communicate(timeout=120)
    finally:
        lab.mend(hosts_lab(world.hosts), world.hosts[1].name)

    assert process.returncode in (1, 6), err
    time.sleep(1)
    world.assert_live("1")
    world.release("3")
    world.assert_live("3")


def test_a_real_directory_at_current_is_refused_before_any_work(world: World) -> None:
    world.release("1")
    current = f"/srv/deployd/apps/{world.name}/production/current"
    on(world, 1, "sh", "-c", f"mv {current} {current}.kept && mkdir {current}")
    try:
        told = world.release("2", check=1)
    finally:
        on(world, 1, "sh", "-c", f"rmdir {current} && mv {current}.kept {current}")

    complete(told.error)
    assert told.error["code"] == "current-not-link"
    assert told.error["host"] == world.hosts[1].name
    world.assert_live("1")


def test_a_release_id_that_does_not_exist(world: World) -> None:
    world.release("1")

    told = world.run("rollback", "20200101-000000-0000000-0000", "--yes", "--json", check=2)
    complete(told.error)
    complete(world.run("rollback", "../../etc", "--yes", "--json", check=2).error)
    complete(world.run("rollback", "--yes", "--json", check=2).error)  # nothing to go back to
    world.assert_live("1")


def test_a_rollback_refuses_when_one_host_lacks_the_release(world: World) -> None:
    first = world.release("1").last["release"]
    world.release("2")
    releases = f"/srv/deployd/apps/{world.name}/production/releases"
    on(world, 1, "mv", f"{releases}/{first}", "/root/taken")
    try:
        told = world.run("rollback", "--yes", "--json", check=2)
    finally:
        on(world, 1, "mv", "/root/taken", f"{releases}/{first}")

    assert told.error["host"] == world.hosts[1].name
    world.assert_live("2")


def test_a_full_disk_is_an_error_before_anything_changed(make_lab, tmp_path) -> None:
    """A host with 160 MB: the second, larger release does not fit; the first serves on."""
    made = make_lab(hosts=1, disk="420M")
    world = World(folder=tmp_path, hosts=lab.status(made.name), state=tmp_path / "state")
    world.add_hosts()
    world.run("host", "bootstrap", world.hosts[0].name, timeout=400)
    world.release("1")
    filler = "/srv/deployd/filler"
    on_host = lambda *argv: lab.run(made.name, world.hosts[0].name, list(argv), check=False, timeout=60)  # noqa: E731
    free = int(on_host("sh", "-c", "df --output=avail -k /srv/deployd | tail -1").text)
    on_host("fallocate", "-l", f"{free - 700}K", filler)
    with world.load(connections=2) as load:
        told = world.release("2", check=1, files=4000)

    complete(told.error)
    assert told.error["code"] == "disk-full"
    assert told.error["host"] == world.hosts[0].name
    no_request_failed(load)
    world.assert_live("1")
    on_host("rm", filler)
    world.release("3")
    world.assert_live("3")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[prob]\npath = '/'", "probe"),
        ("[run]\ninstances = 'many'", "instances"),
        ("[keep]\nrelease = 3", "releases"),
        ("nmae = 'x'", "name"),
        ("[probe", "deployd.toml"),
    ],
)
def test_a_wrong_deployd_toml_names_the_nearest_key(world: World, toml: str, says: str) -> None:
    path = world.app / "deployd.toml"
    path.write_text(toml + "\n" + path.read_text().replace("[probe]", "[x-probe]", 1))
    told = world.run("release", "--artifact", world.artifact("1"), "--json", check=2)

    complete(told.error)
    assert says in told.error["what"] + told.error["fix"] + str(told.error.get("details"))


def git(world: World, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", *words],
        cwd=world.app,
        check=True,
        capture_output=True,
    )


def test_an_app_without_a_lock_file(world: World) -> None:
    (world.app / "package.json").write_text(
        '{"name": "x", "scripts": {"build": "true"}, "dependencies": {"next": "16"}}'
    )
    git(world, "init", "-q", "-b", "main")
    git(world, "add", "-A")
    git(world, "commit", "-qm", "one")
    told = world.run("release", "--json", check=1)

    complete(told.error)
    assert told.error["code"] == "lockfile-missing"


@pytest.mark.parametrize(
    "ref", ["no such 'branch' \"$(touch /tmp/pwned)\"", "-x", "--upload-pack=touch /tmp/pwned", "a..b"]
)
def test_odd_refs_are_refused_and_run_nothing(world: World, ref: str) -> None:
    git(world, "init", "-q", "-b", "main")
    git(world, "add", "-A")
    git(world, "commit", "-qm", "one")
    told = world.run("release", "--json", "--", ref, check=None)

    assert told.code in (1, 2)
    complete(told.error)
    assert not __import__("pathlib").Path("/tmp/pwned").exists()
