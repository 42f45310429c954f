"""A folder for sockets is short, private, and taken away, also when its process was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deployd.hosts import folders

HOLDS = """
import sys
from deployd.hosts import folders
folders._LONGEST = 1000
print(folders.PrivateFolder().path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folders, "_LONGEST", 1000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def another() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_it_is_private_and_gone_when_closed(tmp_path):
    made = folders.PrivateFolder()
    assert made.path.parent == tmp_path
    assert made.path.stat().st_mode & 0o777 == 0o700
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_killed_process_goes_with_the_next_one_and_that_of_a_living_one_stays(tmp_path):
    killed, left = another()
    living, used = another()
    try:
        killed.kill()
        killed.wait()
        foreign = tmp_path / "dpl-without-a-lock"
        foreign.mkdir()
        made = folders.PrivateFolder()
        assert set(tmp_path.iterdir()) == {used, foreign, made.path}
        assert not left.exists()
        made.close()
    finally:
        for one in (killed, living):
            one.kill()
            one.communicate()


def test_where_temporary_files_have_a_long_path_it_is_elsewhere(monkeypatch):
    monkeypatch.setattr(folders, "_LONGEST", 20)
    made = folders.PrivateFolder()
    try:
        assert made.path.parent == Path("/tmp")
    finally:
        made.close()
