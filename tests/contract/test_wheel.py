"""The package as pip installs it: everything that the command needs is inside, and nothing is taken from a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    made = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*PIP, *made], check=True, capture_output=True)
    (wheel,) = folder.glob("deployd-*.whl")
    subprocess.run(
        [*PIP, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True, capture_output=True
    )
    return folder / "site"


def run(site: Path, *words: str) -> str:
    """Python with the installed package before everything else, in a folder that is no checkout."""
    env = {**os.environ, "PYTHONPATH": str(site), "DEPLOYD_STATE_DIR": str(site.parent / "state")}
    return subprocess.run(
        [sys.executable, *words], cwd=site.parent, env=env, check=True, capture_output=True, text=True
    ).stdout


def test_what_goes_to_hosts_is_inside(installed: Path) -> None:
    for name in ("playbooks", "systemd", "etc"):
        code = f"from deployd import paths; print(paths.data_dir({name!r}))"
        found = Path(run(installed, "-c", code).strip())
        assert found.is_relative_to(installed)
        tracked = subprocess.run(["git", "ls-files", name], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        names = [one.removeprefix(f"{name}/") for one in tracked.splitlines()]
        assert names
        for one in names:
            assert (found / one).read_bytes() == (ROOT / name / one).read_bytes()


def test_every_file_of_the_package_is_inside(installed: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "deployd"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert [name for name in tracked.splitlines() if (ROOT / name).exists() and not (installed / name).exists()] == []


def test_the_command_works(installed: Path) -> None:
    command = str(installed / "bin" / "deployd")
    assert run(installed, command, "version").strip()
    assert "bootstrap" in run(installed, command, "host", "--help")
    assert "[probe]" in run(installed, command, "docs", "probe")
