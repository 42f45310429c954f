"""The client of the helper against the real helper on a temporary root: shipping, locks, flips, errors."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from deployd.domain.artifact import FileEntry, LinkEntry, Manifest, Provenance, Runtime
from deployd.domain.events import Event, quiet
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RuntimeName
from deployd.domain.options import Keep, Probe, Run
from deployd.domain.secret import Secret
from deployd.errors import HostError, HostLockedError, ProbeError
from deployd.hosts.helper import Helper, pack
from deployd.hosts.local import Local
from deployd.hosts.pool import Pool
from deployd.stages import activate, ship, supervise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the helper's root half needs root")

APP = AppName.parse("shop")
ENVIRONMENT = EnvironmentName.parse("production")
HOST = HostName.parse("web1")
RUNTIME = RuntimeName.parse("node-22.22.3-linux-x64-glibc")
FIRST = ReleaseId.parse("20261121-101530-3fa9c01-aaaa")
SECOND = ReleaseId.parse("20261121-111530-4fa9c01-bbbb")

# A systemctl that opens and closes the sockets' files, as systemd does, and says that all is well.
SYSTEMCTL = """#!/usr/bin/python3
import os, re, socket, sys
words = [w for w in sys.argv[1:] if not w.startswith("-")]
root = os.environ["DEPLOYD_HOST_ROOT"]
for word in words[1:]:
    found = re.fullmatch(r"deployd-(.+)@(.+)\\.socket", word)
    if not found:
        continue
    path = f"{root}/run/deployd/{found[1]}/{found[2]}.sock"
    if words[0] == "start" and not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.chdir(os.path.dirname(path))
        socket.socket(socket.AF_UNIX).bind(os.path.basename(path))
    if words[0] == "stop" and os.path.exists(path):
        os.unlink(path)
if words[:1] == [] and "--version" in sys.argv:
    print("systemd 252")
"""


@pytest.fixture(params=["started for each verb", "served"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Local]:
    root = tmp_path / "host"
    root.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("caddy", "#!/bin/sh\nexit 0\n")):
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)
    made = Local(
        HOST,
        root=root,
        environment={
            "DEPLOYD_HOST_SYSTEMCTL": str(tmp_path / "systemctl"),
            "DEPLOYD_HOST_CADDY": str(tmp_path / "caddy"),
        },
        served=request.param == "served",
    )
    yield made
    made.close()


@pytest.fixture
def helper(local: Local) -> Helper:
    return Helper(local)


@pytest.fixture
def pool(local: Local) -> Iterator[Pool]:
    with Pool.of({HOST: local}) as made:
        yield made


class Heard(list[tuple[Event, dict[str, object]]]):
    def __call__(self, event: Event, /, **fields: object) -> None:
        self.append((event, fields))

    def named(self, event: Event) -> list[dict[str, object]]:
        return [fields for one, fields in self if one == event]


class Release:
    """An artifact on this machine: an object store and a manifest."""

    def __init__(self, folder: Path, contents: dict[str, bytes]) -> None:
        self.artifacts = folder
        entries: list[FileEntry | LinkEntry] = []
        for path, content in contents.items():
            name = hashlib.sha256(content).hexdigest()
            file = folder / "objects" / name[:2] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            entries.append(FileEntry(path=path, mode=0o644, size=len(content), sha256=name))
        entries.append(LinkEntry(path="lib/current.js", target="server.js"))
        self.manifest = Manifest(
            entry="server.js", files=tuple(sorted(entries, key=lambda entry: entry.path)), built=1_700_000_000
        )
        node = folder / "runtime" / "node"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.write_bytes(b"#!/bin/true\n")
        self.runtime = Runtime(
            name=RUNTIME, path=str(node), sha256=hashlib.sha256(node.read_bytes()).hexdigest(), size=12
        )

    def provenance(self, release: ReleaseId) -> Provenance:
        return Provenance(
            app=APP, environment=ENVIRONMENT, release=release, artifact=self.manifest.name, build_id="b" + "0" * 20,
            runtime=RUNTIME, commit="3fa9c01", branch="main", ref="main", dirty=False, subject="s", author="a", who="w",
            message=None, created="2026-11-21T10:15:30Z", node="22.22.3", lockfile_sha256=None, framework="nextjs",
            deployd="0.1.0",
        )  # fmt: skip

    def ship(self, pool: Pool, release: ReleaseId, heard: Heard | None = None) -> ship.Shipped:
        return ship.ship(
            pool, HOST, app=APP, environment=ENVIRONMENT, release=release, manifest=self.manifest,
            provenance=self.provenance(release), runtime=self.runtime, artifacts=self.artifacts,
            report=quiet if heard is None else heard,
        )  # fmt: skip


CONTENTS = {
    "server.js": b"run()",
    "lib/server.js": b"lib()",
    ".deployd/listen.cjs": b"// shim",
    "a b\n\u00e9.txt": b"x",
}


@pytest.fixture
def first(tmp_path: Path) -> Release:
    return Release(tmp_path / "artifacts", CONTENTS)


@pytest.fixture
def second(tmp_path: Path) -> Release:
    return Release(tmp_path / "artifacts", CONTENTS | {"server.js": b"run_better()"})


def live(pool: Pool, release: ReleaseId, *, expect: ReleaseId | None) -> None:
    helper = pool.helper(HOST)
    helper.start(APP, ENVIRONMENT, release)
    with helper.hold(APP, ENVIRONMENT, owner="me", rollout="r") as lease:
        flipped = activate.flip(
            pool, {HOST: expect}, app=APP, environment=ENVIRONMENT, release=release, epochs={HOST: lease.epoch}
        )
    assert not isinstance(flipped[HOST], HostError), flipped


def test_facts_are_read(helper: Helper) -> None:
    facts = helper.facts()
    assert (facts.helper, facts.libc, facts.systemd) == (1, "glibc", 252)


def test_shipping_sends_what_is_missing_and_only_that(
    pool: Pool, local: Local, first: Release, second: Release
) -> None:
    heard = Heard()
    shipped = first.ship(pool, FIRST, heard)
    folder = local.root / "srv/deployd/apps/shop/production/releases" / FIRST
    assert shipped.sent == 4
    assert (folder / "server.js").read_bytes() == b"run()"
    assert (folder / "a b\n\u00e9.txt").read_bytes() == b"x"
    assert (folder / "lib/current.js").readlink().name == "server.js"
    assert stat.S_IMODE((folder / "server.js").stat().st_mode) == 0o444
    assert heard.named(Event.HOST_COMPARED)[0]["missing"] == 4
    assert heard.named(Event.BYTES_SENT)[-1]["sent"] == heard.named(Event.BYTES_SENT)[-1]["total"]

    again = second.ship(pool, SECOND, heard)
    assert (again.sent, again.linked) == (1, 3)
    other = local.root / "srv/deployd/apps/shop/production/releases" / SECOND
    assert (other / "lib/server.js").stat().st_ino == (folder / "lib/server.js").stat().st_ino
    assert (other / "server.js").read_bytes() == b"run_better()"


def test_shipping_twice_is_shipping_once(pool: Pool, first: Release) -> None:
    first.ship(pool, FIRST)
    heard = Heard()
    again = first.ship(pool, FIRST, heard)
    assert (again.sent, again.bytes_sent) == (0, 0)
    assert not heard.named(Event.BYTES_SENT)


def test_gzip_is_taken_too(helper: Helper, first: Release) -> None:
    packed = gzip.compress(pack(first.manifest, RUNTIME))
    assert len(helper.begin(APP, ENVIRONMENT, FIRST, packed=packed).missing) == 4


def test_an_object_that_was_tampered_with_is_refused(pool: Pool, first: Release) -> None:
    name = hashlib.sha256(b"run()").hexdigest()
    (first.artifacts / "objects" / name[:2] / name).write_bytes(b"evil!")
    with pytest.raises(HostError) as caught:
        first.ship(pool, FIRST)
    assert (caught.value.code, caught.value.host) == ("content-mismatch", HOST)
    assert caught.value.fix
    assert caught.value.live


def test_an_object_that_is_gone_is_named(pool: Pool, first: Release) -> None:
    name = hashlib.sha256(b"run()").hexdigest()
    (first.artifacts / "objects" / name[:2] / name).unlink()
    with pytest.raises(HostError, match=name) as caught:
        first.ship(pool, FIRST)
    assert caught.value.code == "object-lost"


def test_the_lock_is_held_and_freed(helper: Helper) -> None:
    with helper.hold(APP, ENVIRONMENT, owner="anna", rollout="r-1") as lease:
        assert not lease.lost
        with pytest.raises(HostLockedError, match="anna") as caught:
            helper.hold(APP, ENVIRONMENT, owner="ben", rollout="r-2")
        assert caught.value.exit_code == 4
        assert helper.holder(APP, ENVIRONMENT).owner == "anna"
        epoch = lease.epoch
    assert not helper.holder(APP, ENVIRONMENT).held
    with helper.hold(APP, ENVIRONMENT, owner="ben", rollout="r-2") as next_lease:
        assert next_lease.epoch == epoch + 1


def test_a_lock_outlives_the_thread_that_took_it(helper: Helper) -> None:
    leases = []
    thread = threading.Thread(target=lambda: leases.append(helper.hold(APP, ENVIRONMENT, owner="anna", rollout="r-1")))
    thread.start()
    thread.join()
    assert helper.holder(APP, ENVIRONMENT).held
    leases[0].close()


def test_unlock_ends_the_holder(helper: Helper) -> None:
    lease = helper.hold(APP, ENVIRONMENT, owner="anna", rollout="r-1")
    helper.unlock(APP, ENVIRONMENT)
    assert lease.lost
    lease.close()
    assert not helper.holder(APP, ENVIRONMENT).held


def test_flip_there_and_back(pool: Pool, first: Release, second: Release) -> None:
    helper = pool.helper(HOST)
    assert helper.configure(APP, ENVIRONMENT, run=Run(port=8080), check=True) == ("units", "site")
    helper.configure(APP, ENVIRONMENT, run=Run(port=8080))
    for release, one in ((FIRST, first), (SECOND, second)):
        one.ship(pool, release)
        helper.env(APP, ENVIRONMENT, release, variables={"KEY": Secret('v"$\n')})
        helper.start(APP, ENVIRONMENT, release)
    with helper.hold(APP, ENVIRONMENT, owner="me", rollout="r") as lease:
        common = {"app": APP, "environment": ENVIRONMENT, "epochs": {HOST: lease.epoch}}
        heard = Heard()
        one_ = activate.flip(pool, {HOST: None}, release=FIRST, report=heard, **common)[HOST]
        assert not isinstance(one_, HostError)
        assert (one_.previous, one_.current, one_.already) == (None, FIRST, False)
        assert activate.spread({HOST: one_}) == 0.0
        again = activate.flip(pool, {HOST: None}, release=FIRST, **common)[HOST]
        assert not isinstance(again, HostError)
        assert again.already
        wrong = activate.flip(pool, {HOST: None}, release=SECOND, **common)[HOST]
        assert isinstance(wrong, HostError)
        assert (wrong.code, wrong.live, wrong.host) == ("expectation-failed", FIRST, HOST)
        two = activate.flip(pool, {HOST: FIRST}, release=SECOND, **common)[HOST]
        assert not isinstance(two, HostError)
        back = activate.flip_back(pool, {HOST: FIRST}, report=heard, **common)[HOST]
        assert not isinstance(back, HostError)
        assert (back.previous, back.current) == (SECOND, FIRST)
        late = activate.flip(pool, {HOST: FIRST}, release=SECOND, **(common | {"epochs": {HOST: lease.epoch - 1}}))
        assert isinstance(late[HOST], HostError)
        assert late[HOST].code == "fenced"
        assert [one for one, _ in heard] == [Event.RELEASE_FLIPPED, Event.RELEASE_FLIPPED_BACK]
        none = activate.flip_back(pool, {HOST: None}, **common)[HOST]
        assert not isinstance(none, HostError)
        assert none.current is None


def test_a_probe_that_fails_shows_what_was_seen(pool: Pool, first: Release) -> None:
    helper = pool.helper(HOST)
    helper.configure(APP, ENVIRONMENT, run=Run(port=8080))
    first.ship(pool, FIRST)
    with pytest.raises(ProbeError) as caught:
        activate.prepare(
            pool, HOST, app=APP, environment=ENVIRONMENT, release=FIRST, run=Run(port=8080),
            probe=Probe(path="/health", timeout=0.4, interval=0.1), variables={},
        )  # fmt: skip
    assert caught.value.host == HOST
    assert "/health" in (caught.value.details or "")
    assert "attempts" in (caught.value.details or "")
    assert activate.discard(pool, [HOST], app=APP, environment=ENVIRONMENT, release=FIRST) == {HOST: True}
    assert activate.discard(pool, [HOST], app=APP, environment=ENVIRONMENT, release=FIRST) == {HOST: False}


def test_status_and_retention(pool: Pool, first: Release, second: Release) -> None:
    assert supervise.status(pool, [HOST], app=APP, environment=ENVIRONMENT)[0].state == "empty"
    helper = pool.helper(HOST)
    helper.configure(APP, ENVIRONMENT, run=Run(port=8080))
    first.ship(pool, FIRST)
    second.ship(pool, SECOND)
    live(pool, FIRST, expect=None)
    live(pool, SECOND, expect=FIRST)
    found = supervise.status(pool, [HOST], app=APP, environment=ENVIRONMENT)[0]
    assert (found.release, found.state) == (SECOND, "down")
    assert found.detail
    plan = supervise.retention.plan(
        supervise.retention.candidates(found.detail, bad={FIRST}), keep=Keep(releases=1, failed=0, skew_protection=0)
    )
    assert (plan.keep, plan.remove) == ((SECOND,), (FIRST,))
    pruned = supervise.prune(pool, {HOST: plan}, app=APP, environment=ENVIRONMENT)[HOST]
    assert not isinstance(pruned, HostError)
    assert pruned.removed == (FIRST,)
    assert activate.drain(pool, {HOST: None}, app=APP, environment=ENVIRONMENT) == {HOST: False}


def test_a_folder_where_current_should_be_is_refused(pool: Pool, local: Local, first: Release) -> None:
    (local.root / "srv/deployd/apps/shop/production/current").mkdir(parents=True)
    with pytest.raises(HostError) as caught:
        first.ship(pool, FIRST)
    assert caught.value.code == "current-not-link"


def test_a_bad_word_is_refused_by_the_helper(local: Local) -> None:
    reply = local.call(("status", "../x", "production"))
    assert reply.exit == 126


def test_a_full_disk_is_refused_before_anything_travels(tmp_path: Path, first: Release) -> None:
    root = tmp_path / "full"
    root.mkdir()
    with Pool.of({HOST: Local(HOST, root=root, environment={"DEPLOYD_HOST_DISK_FREE": "1000"})}) as pool:
        heard = Heard()
        with pytest.raises(HostError) as caught:
            first.ship(pool, FIRST, heard)
    assert caught.value.code == "disk-full"
    assert not list(root.rglob("releases/*"))
