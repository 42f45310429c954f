"""The words of a sandbox where deployd's own user asks deployd-build.socket for it. (How it acts: contract tests.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployd import process, sandbox
from deployd.stages.build import limits

if TYPE_CHECKING:
    from pathlib import Path

ME, BUILDER = 1000, sandbox.Account(990, 991)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is not root, on a machine where `deployd install` ran."""
    monkeypatch.setattr(sandbox, "is_elsewhere", lambda: True)
    monkeypatch.setattr(sandbox, "_builder", lambda: BUILDER)
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: ME)


def options(argv: tuple[str, ...]) -> tuple[str, ...]:
    return argv[: argv.index("--")]


@pytest.mark.usefixtures("elsewhere")
def test_what_is_written_is_given_and_the_program_is_the_builds_user() -> None:
    argv = sandbox.alone(["true"], writable={"/w": "/w", "/x": "/y"}, readonly={"/r": "/r"}, private="/p")
    assert options(argv) == (*sandbox.asking(), "--give", "/w", "--give", "/x", "--give", "/p/tmp")
    inside = argv[argv.index("--") + 1 :]
    assert inside[0] == "bwrap"
    assert "--unshare-user" not in inside
    assert inside[inside.index("--reuid") + 1] == "990"
    assert sandbox.account() == BUILDER


@pytest.mark.usefixtures("elsewhere")
def test_limits_are_told_to_who_runs_it_and_not_held_by_who_asks() -> None:
    argv, warning = limits.limited(sandbox.alone(["true"]), memory=5 << 20, cpus=0.5)
    assert warning is None
    assert options(argv) == (*sandbox.asking(), "--memory", str(5 << 20))
    inside = argv[argv.index("--") + 1 :]
    assert inside.index("nice") < inside.index("bwrap")
    assert inside.index("taskset") < inside.index("bwrap")
    assert "--memory" not in options(limits.limited(sandbox.alone(["true"]), memory=None, cpus=None)[0])


@pytest.mark.usefixtures("elsewhere")
def test_giving_is_left_to_who_runs_it_and_showing_is_not(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    file.chmod(0o600)
    before = file.stat().st_uid
    sandbox.give(tmp_path)
    sandbox.show(file)
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (before, 0o644)


@pytest.mark.usefixtures("elsewhere")
def test_what_a_machine_that_stopped_left_given_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(process, "run", lambda argv, **_: asked.append(argv))
    (tmp_path / "app" / "production").mkdir(parents=True)
    sandbox.take_back(tmp_path, tmp_path / "none")
    assert asked == [], "all is its own"
    monkeypatch.setattr(sandbox, "_builder", lambda: sandbox.Account(tmp_path.stat().st_uid, 0))
    sandbox.take_back(tmp_path)
    assert asked == [(*sandbox.asking(), "--give", str(tmp_path / "app"), "--", "true")]


def test_without_the_service_nothing_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPLOYD_BUILD_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(sandbox.os, "geteuid", lambda: ME)
    sandbox.is_elsewhere.cache_clear()
    try:
        assert sandbox.account() is None
        assert sandbox.alone(["true"])[0] == "bwrap"
    finally:
        sandbox.is_elsewhere.cache_clear()
