"""Hosts for real: bootstrap, connections, wires that are cut, keys that are wrong, ships and flips over two hosts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import statistics
import threading
import time
from pathlib import Path

import pytest

from deployd import lab, paths, process
from deployd.domain.events import Event
from deployd.domain.ids import ReleaseId
from deployd.domain.options import Probe, Run
from deployd.domain.secret import Secret
from deployd.errors import HostError, HostKeyError, HostLockedError, ProbeError, UnreachableError
from deployd.hosts import bootstrap, doctor, keys
from deployd.hosts.pool import Pool
from deployd.stages import activate, ship, supervise
from tests.support.labfleet import APP, ENVIRONMENT, Fleet, wait_until
from tests.support.stopping import stop

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNs6IeX4VoAWMbm2uBu8oTz2KjDrUY2Gf0zsk0DgM7E"


@pytest.fixture(scope="module")
def fleet(shared_lab, tmp_path_factory) -> Fleet:
    made = Fleet(shared_lab, tmp_path_factory.mktemp("hosts"))
    facts = bootstrap.run(made.hosts, paths=made.paths, on_line=print)
    assert {one.helper for one in facts.values()} == {1}
    yield made
    made.mend()
    with made.pool() as pool:
        pool.each(pool.names, lambda helper: helper.remove_app(APP, ENVIRONMENT))


@pytest.fixture
def pool(fleet: Fleet):
    with fleet.pool() as made:
        yield made
    fleet.mend()


def ssh_processes(fleet: Fleet) -> set[str]:
    """The pids of OpenSSH's clients that are connected to these hosts as deployd."""
    addresses = {host.address.encode() for host in fleet.hosts}
    return {
        path.name
        for path in Path("/proc").glob("[0-9]*")
        if (words := _cmdline(path.name).split(b"\0"))[0] == b"ssh" and b"deployd" in words and addresses & set(words)
    }


def _cmdline(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_second_bootstrap_changes_nothing(fleet: Fleet) -> None:
    lines: list[str] = []
    bootstrap.run(fleet.hosts, paths=fleet.paths, on_line=lines.append)
    recap = [line for line in lines if "changed=" in line]
    assert len(recap) == 2
    assert all("changed=0 " in line for line in recap), "\n".join(lines)


def test_a_login_of_the_deploy_user_starts_no_service_manager(fleet: Fleet, pool: Pool) -> None:
    host = fleet.hosts[0]
    assert pool.helper(host.name).facts()  # over a login of his
    units = "systemctl is-active user@$(id -u deployd).service; systemctl is-active user@$(id -u root).service"
    assert lab.run(fleet.lab, host.name, ["sh", "-c", units], check=False).text.split() == ["inactive", "active"]


def test_the_doctor_finds_nothing_wrong(fleet: Fleet, pool: Pool) -> None:
    for host in fleet.hosts:
        troubles = [one for one in doctor.check(host, pool) if one.level != "ok"]
        assert not troubles


def test_hosts_show_the_key_that_is_pinned(fleet: Fleet) -> None:
    host = fleet.hosts[0]
    assert keys.scan(host.address, host.port) == (host.host_key, keys.fingerprint(host.host_key))


def test_verbs_over_an_open_connection_are_quick(fleet: Fleet, pool: Pool) -> None:
    assert set(pool.connect_all().values()) == {None}
    helper = pool.helper(fleet.names[0])
    took = []
    for _ in range(20):
        started = time.perf_counter()
        helper.holder(APP, ENVIRONMENT)
        took.append(time.perf_counter() - started)
    assert statistics.median(took) < 0.1, took  # measured: 3 ms; without TCP_NODELAY 44, and 60-100 for a helper each


def test_another_host_key_is_refused_with_both_fingerprints(fleet: Fleet) -> None:
    host = dataclasses.replace(fleet.hosts[0], host_key=OTHER_KEY)
    with Pool([host], paths=fleet.paths) as made, pytest.raises(HostKeyError) as caught:
        made.helper(host.name)
    assert keys.fingerprint(OTHER_KEY) in (caught.value.details or "")
    assert keys.fingerprint(fleet.hosts[0].host_key) in (caught.value.details or "")
    with Pool([host], paths=fleet.paths) as made, pytest.raises(HostError):
        made.wire(host.name).send(["x"], base=fleet.folder, to="/srv/deployd/incoming/x/y/", on_bytes=print)
    with pytest.raises(HostKeyError):
        bootstrap.run([host], paths=fleet.paths, on_line=print)


def test_a_key_that_the_host_does_not_know_leads_to_bootstrap(fleet: Fleet, tmp_path: Path) -> None:
    other = paths.StatePaths(tmp_path / "state").make()
    keys.ensure_ssh_key(other)
    with Pool(fleet.hosts, paths=other) as made:
        outcome = made.connect_all()[fleet.names[0]]
    assert isinstance(outcome, UnreachableError)
    assert (outcome.code, outcome.host) == ("ssh-auth-failed", fleet.names[0])
    assert "bootstrap" in outcome.fix


@pytest.mark.parametrize(("change", "said"), [({"port": 23}, "nothing listens"), ({"address": "LAST"}, "")])
def test_a_host_that_is_not_there_is_named(fleet: Fleet, change: dict[str, object], said: str) -> None:
    if change.get("address"):
        change = {"address": fleet.hosts[0].address.rpartition(".")[0] + ".250"}
    host = dataclasses.replace(fleet.hosts[0], **change)
    started = time.monotonic()
    with Pool([host], paths=fleet.paths, connect_timeout=5) as made, pytest.raises(UnreachableError) as caught:
        made.helper(host.name)
    assert time.monotonic() - started < 10  # it was not tried twice
    assert (caught.value.code, caught.value.exit_code) == ("host-unreachable", 6)
    assert host.address in caught.value.what
    assert str(host.port) in caught.value.what
    assert said in caught.value.what


def test_the_key_gets_no_shell(fleet: Fleet, pool: Pool) -> None:
    from deployd.hosts import wire

    host = fleet.hosts[0]
    known = fleet.folder / "known_hosts"
    keys.write_known_hosts([host], known)
    argv = wire.ssh_argv(host, user="deployd", key=fleet.paths.ssh_key, known_hosts=known, connect_timeout=5)
    for command in ("id", "sh", "deployd-host facts; id", "$(id)", "cat /etc/shadow"):
        done = process.run([*argv, host.address, command], check=False)
        assert done.returncode == 126, command
        assert b"uid=" not in done.stdout


def test_releases_go_to_all_hosts_and_flip_together(fleet: Fleet, pool: Pool) -> None:
    first, second = ReleaseId.new(commit="a" * 40), ReleaseId.new(commit="b" * 40)
    pool.connect_all(shipping=True)
    assert wait_until(lambda: len(ssh_processes(fleet)) == len(fleet.hosts))  # they start in the background
    manifests = {first: fleet.manifest(), second: fleet.manifest(**{"new.txt": b"new"})}
    leases = pool.each(pool.names, lambda helper: helper.hold(APP, ENVIRONMENT, owner="me", rollout="r-1"))
    epochs = {name: lease.epoch for name, lease in leases.items()}
    current: ReleaseId | None = None
    for release, manifest in manifests.items():
        for name in pool.names:
            shipped = fleet.ship(pool, name, release, manifest)
            assert shipped.sent == (2 if release == first else 1)
            activate.prepare(
                pool, name, app=APP, environment=ENVIRONMENT, release=release, run=Run(port=8081),
                probe=Probe(warm=("/warm",)), variables={"CANARY": Secret('tweet "$HOME" \\ %h')},
            )  # fmt: skip
        outcomes = activate.flip(
            pool, dict.fromkeys(pool.names, current), app=APP, environment=ENVIRONMENT, release=release, epochs=epochs
        )
        assert not [one for one in outcomes.values() if isinstance(one, HostError)], outcomes
        assert (activate.spread(outcomes) or 0) < 0.1  # measured: 1 to 5 ms
        probed = activate.probe_web(pool, pool.names, app=APP, environment=ENVIRONMENT, release=release, probe=Probe())
        assert not [one for one in probed.values() if isinstance(one, HostError)], probed
        for host in fleet.hosts:
            said = process.run(["curl", "-s", f"http://{host.address}:8081/"]).text
            assert said == f'{release} tweet "$HOME" \\ %h'
        current = release
    with pytest.raises(HostLockedError, match="me"):
        pool.helper(pool.names[0]).hold(APP, ENVIRONMENT, owner="you", rollout="r-2")
    back = activate.flip_back(pool, dict.fromkeys(pool.names, first), app=APP, environment=ENVIRONMENT, epochs=epochs)
    assert {one.current for one in back.values()} == {first}
    with pytest.raises(ProbeError) as caught:
        activate.prepare(
            pool, pool.names[0], app=APP, environment=ENVIRONMENT, release=second, run=None,
            probe=Probe(path="/sick", timeout=1), variables=None,
        )  # fmt: skip
    assert "500" in (caught.value.details or "")
    assert caught.value.live == first
    drained = activate.drain(pool, dict.fromkeys(pool.names, second), app=APP, environment=ENVIRONMENT)
    assert set(drained.values()) == {True}
    statuses = supervise.status(pool, pool.names, app=APP, environment=ENVIRONMENT)
    assert {(one.release, one.state) for one in statuses} == {(first, "live")}
    lines = list(supervise.logs(pool, pool.names, app=APP, environment=ENVIRONMENT, lines=20))
    assert {line.host for line in lines} == set(pool.names)
    assert [line.time for line in lines] == sorted(line.time for line in lines)
    for lease in leases.values():
        lease.close()
    pool.close()
    assert not ssh_processes(fleet)


def test_followed_logs_end_when_they_are_closed(fleet: Fleet, pool: Pool) -> None:
    release = ReleaseId.new(commit="a" * 40)
    name = pool.names[0]
    fleet.ship(pool, name, release, fleet.manifest())
    helper = pool.helper(name)
    helper.configure(APP, ENVIRONMENT, run=Run(port=8081))
    helper.start(APP, ENVIRONMENT, release)
    lines = helper.logs(APP, ENVIRONMENT, follow=True)
    assert next(lines).host == name
    lines.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = lab.run(fleet.lab, name, ["pgrep", "-fc", "journalctl.*--follow"], check=False).text.strip()
        if left == "0":
            break
        time.sleep(0.5)
    assert left == "0"


def test_a_wire_that_is_cut_is_noticed_and_made_anew(fleet: Fleet, pool: Pool) -> None:
    name = pool.names[0]
    helper = pool.helper(name)
    lease = helper.hold(APP, ENVIRONMENT, owner="me", rollout="r-1")
    helper.status(APP, ENVIRONMENT)  # over a served call, which the next one uses again
    lab.cut(fleet.lab, name)
    started = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        helper.status(APP, ENVIRONMENT)
    assert time.monotonic() - started < 40  # measured: 11 s
    assert caught.value.code == "connection-lost"
    assert lease.lost
    lease.close()
    lab.mend(fleet.lab, name)
    deadline = time.monotonic() + 60
    while True:  # the host's sshd must notice too, before the lock is free
        try:
            with pool.helper(name).hold(APP, ENVIRONMENT, owner="me", rollout="r-2") as again:
                assert again.epoch > lease.epoch
            break
        except HostError:
            assert time.monotonic() < deadline
            time.sleep(2)


def test_a_transfer_that_is_cut_goes_on_where_it_was(fleet: Fleet, pool: Pool) -> None:
    name, release = pool.names[0], ReleaseId.new(commit="c" * 40)
    size = 300_000_000
    manifest = fleet.manifest(**{"big.bin": os.urandom(size)})
    heard: list[tuple[Event, dict]] = []
    cut = threading.Event()

    def report(event: Event, /, **fields) -> None:
        heard.append((event, fields))
        if event == Event.BYTES_SENT and fields["what"] == "objects" and fields["sent"] > size / 4 and not cut.is_set():
            cut.set()
            lab.cut(fleet.lab, name)
            threading.Timer(20, lab.mend, (fleet.lab, name)).start()

    shipped = fleet.ship(pool, name, release, manifest, report)
    assert cut.is_set()
    assert next(fields["code"] for event, fields in heard if event == Event.WARNING) == "connection-lost"
    assert shipped.files == 3
    assert shipped.bytes_sent < size, "the last try did not begin anew"
    assert activate.discard(pool, [name], app=APP, environment=ENVIRONMENT, release=release) == {name: True}


def test_a_receiver_that_was_left_alone_is_ended_and_keeps_its_part(fleet: Fleet, pool: Pool) -> None:
    """Its wire is held, not broken, so by itself it would go on to wait."""
    name, release = pool.names[0], ReleaseId.new(commit="c" * 40)
    size = 300_000_000  # much more than is on its way when word of the first bytes comes
    manifest = fleet.manifest(**{"big.bin": os.urandom(size)})
    stuck: list[ship.Shipped | HostError] = []
    held = threading.Event()

    def report(event: Event, /, **fields) -> None:
        if (
            event == Event.BYTES_SENT
            and fields["what"] == "objects"
            and fields["sent"] > 20_000_000
            and not held.is_set()
        ):
            held.set()
            for pid in ssh_processes(fleet):
                stop(int(pid))

    def first() -> None:
        with fleet.pool() as other:
            try:
                stuck.append(fleet.ship(other, name, release, manifest, report))
            except HostError as error:
                stuck.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert held.wait(60)
        stopped = ssh_processes(fleet)
        assert not stuck
        shipped = fleet.ship(pool, name, release, manifest)
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGCONT)
        thread.join(60)
    assert shipped.bytes_sent < size - 10_000_000
    assert activate.discard(pool, [name], app=APP, environment=ENVIRONMENT, release=release) == {name: True}


def test_a_host_that_goes_down_in_a_transfer_is_an_error_that_changed_nothing(fleet: Fleet, pool: Pool) -> None:
    name, release = pool.names[1], ReleaseId.new(commit="d" * 40)
    size = 300_000_000
    manifest = fleet.manifest(**{"big.bin": os.urandom(size)})
    before = pool.helper(name).status(APP, ENVIRONMENT).current

    def report(event: Event, /, **fields) -> None:
        if event == Event.BYTES_SENT and fields["sent"] > size / 4:
            lab.cut(fleet.lab, name)

    with pytest.raises(UnreachableError) as caught:
        fleet.ship(pool, name, release, manifest, report)
    assert (caught.value.exit_code, caught.value.host) == (6, name)
    assert "unchanged" in (caught.value.live or "")
    assert caught.value.fix
    lab.mend(fleet.lab, name)
    after = pool.helper(name).status(APP, ENVIRONMENT)
    assert after.current == before
    assert after.release(release) is None
