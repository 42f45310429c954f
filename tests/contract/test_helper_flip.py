"""hold, flip, unflip, stop, prune, discard: who may switch what, and what is never taken away."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.contract.fakehost import A, B, C, Package, names

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost, Reply

APP = ("shop", "production")
WHO = b'{"owner": "ann", "rollout": "r-1"}\n'


class Holding:
    """A holder in a process of its own."""

    def __init__(self, host: FakeHost, *options: str) -> None:
        self.process = subprocess.Popen(
            host.argv("hold", *APP, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=host.environment(),
        )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(WHO)
        self.process.stdin.flush()
        self.first = json.loads(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def test_one_holder_at_a_time_and_each_has_a_new_epoch(configured: FakeHost) -> None:
    with Holding(configured) as first:
        assert (first.first["ok"], first.first["epoch"]) == (True, 1)
        other = configured.raw("hold", *APP, stdin=WHO)
        assert (other.exit, other["code"]) == (1, "lock-held")
        assert (other["details"]["owner"], other["details"]["rollout"]) == ("ann", "r-1")
        assert configured.ok("holder", *APP)["owner"] == "ann"
        assert configured.ok("status", *APP)["lock"]["held"] is True

    assert configured.ok("holder", *APP)["held"] is False
    assert configured.epoch() == 2


def test_a_killed_holder_frees_the_app_and_a_waiting_one_gets_it(configured: FakeHost) -> None:
    first = Holding(configured)
    with subprocess.Popen(
        configured.argv("hold", *APP, "--wait", "60"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=configured.environment(),
    ) as waiting:  # fmt: skip
        assert waiting.stdin
        assert waiting.stdout
        waiting.stdin.write(WHO)
        waiting.stdin.flush()
        time.sleep(0.3)
        first.process.kill()

        assert json.loads(waiting.stdout.readline())["epoch"] == 2
        waiting.stdin.close()
    first.__exit__()


def test_unlock_ends_the_holder_and_fences_him(configured: FakeHost) -> None:
    configured.start(A)
    with Holding(configured) as first:
        reply = configured.ok("unlock", *APP)

        assert (reply["released"], reply["was"]["owner"], reply["epoch"]) == (True, "ann", 2)
        assert first.process.wait(timeout=60) != 0
        assert configured.flip(A, None, first.first["epoch"])["code"] == "fenced"
    assert configured.current() is None


def test_flip_is_one_link_and_says_what_was_there(configured: FakeHost) -> None:
    configured.live(A)
    configured.start(B)

    reply = configured.flip(B, A, configured.epoch())

    assert (reply["previous"], reply["current"], reply["already"]) == (A, B, False)
    assert abs(reply["at"] - time.time()) < 30
    assert str(configured.path("current").readlink()) == f"releases/{B}"
    status = configured.ok("status", *APP)
    assert status["current"] == B
    assert [(one["id"], one["state"], one["was_live"]) for one in status["releases"]] == [
        (B, "current", True), (A, "warm", True),
    ]  # fmt: skip


def test_flip_again_is_no_error_and_a_late_one_is(configured: FakeHost) -> None:
    configured.live(A)
    configured.start(B)
    epoch = configured.epoch()
    first = configured.flip(B, A, epoch)

    again = configured.flip(B, A, epoch)
    late = configured.flip(A, None, epoch)
    fenced = configured.flip(A, B, epoch - 1)
    ahead = configured.flip(A, B, epoch + 1)

    assert (again["already"], again["previous"], again["at"]) == (True, A, first["at"])
    assert (late["code"], late["live"], late["details"]["current"]) == ("expectation-failed", B, B)
    assert (fenced["code"], ahead["code"]) == ("fenced", "fenced")
    assert configured.current() == B


def test_a_release_that_is_not_ready_is_not_flipped_to(configured: FakeHost) -> None:
    epoch = configured.epoch()

    assert configured.flip(A, None, epoch)["code"] == "not-sealed"
    configured.seal(A)
    assert configured.flip(A, None, epoch)["code"] == "not-started"
    (configured.release(A) / ".deployd/id").chmod(0o644)
    (configured.release(A) / ".deployd/id").write_text(B)
    assert configured.flip(A, None, epoch)["code"] == "not-sealed"
    assert configured.current() is None


def test_a_real_folder_where_current_should_be(configured: FakeHost) -> None:
    configured.start(A)
    configured.path("current").mkdir()
    doc = {"manifest": Package().manifest(), "runtime": "node-22.22.3-linux-x64-glibc"}

    configured.refused("begin", *APP, B, doc=doc, code="current-not-link")
    assert configured.flip(A, None, configured.epoch())["code"] == "current-not-link"
    assert configured.path("current").is_dir()
    configured.path("current").rmdir()
    configured.path("current").symlink_to("/etc")
    assert configured.flip(A, None, configured.epoch())["code"] == "current-not-link"
    assert str(configured.path("current").readlink()) == "/etc"


def test_a_crash_between_rename_and_record_is_caught_up(configured: FakeHost) -> None:
    configured.live(A)
    configured.start(B)
    configured.path("current").unlink()
    configured.path("current").symlink_to(f"releases/{B}")  # renamed, then killed

    reply = configured.flip(B, A, configured.epoch())

    assert (reply["already"], reply["previous"]) == (True, A)
    state = json.loads(configured.path("state.json").read_text())
    assert [one["release"] for one in state["live_log"]] == [A, B]


def test_unflip_goes_back_also_to_nothing(configured: FakeHost) -> None:
    configured.live(A)
    configured.start(B)
    epoch = configured.epoch()
    configured.flip(B, A, epoch)
    unflip = ("unflip", *APP, "--epoch", str(epoch))

    assert configured.ok(*unflip, "--to", A)["previous"] == B
    assert configured.ok(*unflip, "--to", A)["already"] is True
    configured.refused(*unflip, "--to", C, code="not-sealed")
    configured.refused("unflip", *APP, "--epoch", "0", "--to", B, code="fenced")
    assert configured.current() == A
    configured.ok(*unflip, "--to", "none")
    assert not configured.path("current").is_symlink()
    assert configured.ok(*unflip, "--to", "none")["already"] is True


def test_stop_drains_without_waiting_and_keeps_the_socket(configured: FakeHost) -> None:
    configured.live(A)
    configured.live(B)

    configured.refused("stop", *APP, B, code="is-current")
    configured.ok("stop", *APP, A)

    assert configured.calls()[-1] == f"stop --no-block -- deployd-shop-production-[0-9]*@{A}.service"
    assert (configured.root / f"run/deployd/shop-production/{A}.sock").exists()


def test_prune_never_takes_what_is_needed(configured: FakeHost) -> None:
    configured.live(A)
    configured.seal(B)
    configured.seal(C)

    reply = prune(configured, keep=[], protect=[B])

    assert (reply["removed"], reply["kept"], reply["in_use"]) == ([C], [A, B], [])
    assert configured.release(A).is_dir()  # current


def prune(host: FakeHost, *, keep: list[str], protect: list[str] | None = None) -> Reply:
    return host.ok("prune", *APP, doc={"keep": keep, "protect": protect or []})


def test_prune_takes_all_of_a_release(configured: FakeHost) -> None:
    old = Package().with_files(**{".next/static/old.js": b"old"})
    configured.live(A, old)
    configured.ok("env", *APP, A, doc={"variables": {"A": "1"}})
    cache = configured.root / f"var/cache/private/deployd/shop-production/{A}/cache/images"
    cache.mkdir(parents=True)
    (cache / "evil").symlink_to("/etc")
    configured.live(B)
    configured.ok("stop", *APP, A)
    configured.begin(C, Package().with_files(c=b"c"))

    reply = prune(configured, keep=[B])

    assert reply["removed"] == [A]
    assert reply["freed_bytes"] > 0
    left = [str(path) for path in configured.root.rglob("*") if A in str(path) and "fake" not in str(path)]
    assert left == []
    assert names(configured.path("static/_next/static")) == ["a.js"]
    assert not (configured.root / f"srv/deployd/incoming/shop-production/{C}").exists()
    assert Path("/etc/passwd").exists()


def test_prune_leaves_what_a_unit_or_a_process_uses(configured: FakeHost) -> None:
    for release in (A, B, C):
        configured.seal(release)
    (configured.bin / f"units/deployd-shop-production-7@{A}.service").write_text("deactivating")
    with subprocess.Popen(["sleep", "60"], cwd=configured.release(B) / ".next") as process:
        reply = prune(configured, keep=[])
        process.kill()

    assert (reply["removed"], reply["in_use"]) == ([C], [A, B])


def test_unused_runtimes_go_after_a_day(configured: FakeHost) -> None:
    configured.seal(A)
    runtimes = configured.root / "srv/deployd/runtimes"
    for name, age in (("node-20.1.1-linux-x64-glibc", 100_000), ("node-20.1.2-linux-x64-glibc", 10)):
        (runtimes / name / "bin").mkdir(parents=True)
        os.utime(runtimes / name, (time.time() - age,) * 2)

    prune(configured, keep=[A])

    assert names(runtimes) == ["node-20.1.2-linux-x64-glibc", "node-22.22.3-linux-x64-glibc"]


def test_discard_takes_only_what_never_was_live(configured: FakeHost) -> None:
    configured.live(A)
    configured.live(B)
    configured.start(C)

    configured.refused("discard", *APP, B, code="is-current")
    configured.refused("discard", *APP, A, code="was-live")
    assert configured.ok("discard", *APP, C)["discarded"] is True
    assert configured.ok("discard", *APP, C)["discarded"] is False
    assert names(configured.path("releases")) == [A, B]


def test_boot_brings_back_sockets_and_the_live_release(configured: FakeHost) -> None:
    configured.live(A)
    configured.live(B)
    before = len(configured.calls())

    configured.ok("boot")

    name = "deployd-shop-production"
    assert configured.calls()[before:] == [
        f"start --no-block {name}@{B}.socket {name}-1@{B}.service {name}-2@{B}.service",
        f"start --no-block {name}@{A}.socket",
    ]


def test_remove_app_leaves_nothing(configured: FakeHost) -> None:
    configured.live(A)

    assert configured.ok("remove-app", *APP)["removed"] is True
    assert configured.ok("remove-app", *APP)["removed"] is False

    left = [path for path in configured.root.rglob("*shop*") if not {"fake", "locks"} & set(path.parts)]
    assert left == []
    assert (configured.root / "etc/deployd/web/sites/default.caddy").exists()
