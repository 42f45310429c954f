"""Odd surroundings: closed streams, full disks, folders that cannot be made, addresses and values that hold secrets."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from deployd import paths
from deployd.cli import main, stages
from deployd.cli.render import Screen
from deployd.domain import repository
from deployd.domain.events import Event
from deployd.errors import CancelledError, ConfigError, DeploydError, SourceError
from deployd.paths import StatePaths
from deployd.stages.source import git
from tests.unit.cli.conftest import ROLLOUT

PROGRAM = "from deployd.cli.main import main; main()"


def in_shell(text, *argv):
    """Run `deployd ARGV` in sh, where `text` says what becomes of the streams."""
    return subprocess.run(
        ["sh", "-c", f'program=$1; shift; exec "{sys.executable}" -c "$program" "$@" {text}', "sh", PROGRAM, *argv],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(closed):
    done = in_shell(closed, "docs", "probe")

    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_full_disk_under_stdout_is_told_as_such():
    done = in_shell(">/dev/full", "docs", "probe", "--json")

    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (1, "machine-refused")
    assert "No space left" in error["what"]
    assert "df -h" in error["fix"]


def test_a_folder_that_may_not_be_written_is_told_with_its_name(deployd, app, client):
    client.fail = PermissionError(13, "Permission denied", "/srv/app/deployd.toml")
    done = deployd("status", "--json")

    assert json.loads(done.err)["error"]["what"] == "this machine refused: /srv/app/deployd.toml: Permission denied"


@pytest.mark.parametrize("option", ["--state-dir", "--app-dir"])
def test_an_empty_folder_is_not_the_current_one(deployd, app, option):
    done = deployd("host", "list", option, "")

    assert (done.exit, done.out) == (2, "")
    assert option in done.err


def test_a_state_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        StatePaths(tmp_path / "file" / "state").make()

    assert caught.value.code == "state-dir-unusable"
    assert str(tmp_path / "file" / "state") in caught.value.what


def test_without_a_verb_json_stays_json(deployd, app):
    for argv in (("--json",), ("host", "--json"), ("--json", "mark")):
        done = deployd(*argv)
        assert (done.exit, done.out) == (2, "")
        assert json.loads(done.err)["error"]["code"] == "usage"


def test_the_app_file_is_for_the_repository_and_not_for_one_user(deployd, app):
    (app / "deployd.toml").unlink()
    assert deployd("init").exit == 0
    assert stat.S_IMODE((app / "deployd.toml").stat().st_mode) == 0o644


def test_config_gives_values_and_not_their_toml(deployd, app):
    values = {item["key"]: item["value"] for item in json.loads(deployd("config", "--json").out)["values"]}

    assert (values["name"], values["hosts"], values["run.instances"]) == ("shop", ["web1", "web2"], 1)
    assert values["approval"] is False
    assert values["run.memory"] is None


def test_a_value_that_is_no_text_is_refused(deployd, app, client):
    done = deployd("env", "set", "A=\udcff", "--plain", "--json")

    assert (done.exit, json.loads(done.err)["error"]["code"]) == (2, "value-invalid")


@pytest.mark.parametrize(
    "address",
    [
        "https://ada:s3cret@git.example/shop.git",
        "https://ada:s3c@ret@git.example/shop.git",
        "ssh://git:s3cret@git.example/shop.git",
        "https://ghp_s3cret0123456789@github.com/a/b",
        "https://github_pat_s3cret0123456789@github.com/a/b",
        "https://glpat-s3cret0123@gitlab.com/a/b",
    ],
)
def test_an_address_with_a_password_is_refused_without_telling_it(address):
    assert repository.holds_secret(address)
    with pytest.raises(SourceError) as caught:
        git.checked_repository(address)

    assert caught.value.code == "repository-has-secret"
    assert "s3c" not in str(caught.value.fields())
    assert "://g" in caught.value.what


@pytest.mark.parametrize(
    "address",
    ["https://git.example/a:b@c.git", "https://ada@bitbucket.org/a/b", "git@git.example:a/b", "ssh://git@h:22/a"],
)
def test_other_addresses_are_as_they_are(address):
    assert not repository.holds_secret(address)
    assert repository.told(address) == address
    assert git.checked_repository(address) == address


def test_errors_of_this_machine_are_no_bugs_and_others_are():
    told = main._translated(OSError(28, "No space left on device", "/x"), ["release"], verbose=False)
    assert told.code == "machine-refused"
    assert main._translated(FileNotFoundError(2, "No such file", "/x"), [], verbose=False).code == "internal"


def test_what_the_stages_print_can_be_a_file(tmp_path):
    stages._write({"files": ["ü"]}, tmp_path / "a" / "trace.json")
    assert json.loads((tmp_path / "a" / "trace.json").read_text(encoding="utf-8")) == {"files": ["ü"]}


class Closing(io.StringIO):
    """A pipe whose reader goes away after some lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def write(self, text: str, /) -> int:
        if self.left <= 0:
            raise BrokenPipeError(32, "Broken pipe")
        self.left -= text.count("\n")
        return super().write(text)


@pytest.mark.parametrize("options", [("--json",), ()])
def test_a_release_that_nobody_reads_any_more_goes_on_to_its_end(client, app, options):
    """`deployd release --json | head -1`: the flips must not end in the middle."""
    screen = Screen(stdin=io.StringIO(), stdout=Closing(1), stderr=io.StringIO())

    assert main.run(["release", *options], make_client=lambda *_: client, screen=screen) == 0
    assert len(client.wishes) == 1
    assert len(screen.stdout.getvalue().splitlines()) <= 1


def test_watching_ends_when_nobody_reads(deployd, client, app):
    left = threading.Event()

    def follow(rollout, *, report, cancel):
        report(Event.STAGE_STARTED, stage="ship")
        report(Event.HOST_CONNECTED, host="web1")
        left.set()
        assert cancel.wait(20)
        raise CancelledError("left", code="left", fix="watch it again")

    client.follow = follow
    screen = Screen(stdin=io.StringIO(), stdout=Closing(0), stderr=io.StringIO())
    code = main.run(["watch", "--json", str(ROLLOUT)], make_client=lambda *_: client, screen=screen)
    assert (code, left.is_set()) == (0, True)


def test_errors_go_nowhere_when_stderr_is_gone_too(client, app):
    client.fail = DeploydError("no", code="a-code", fix="do this")
    screen = Screen(stdin=io.StringIO(), stdout=Closing(0), stderr=Closing(0))

    assert main.run(["release"], make_client=lambda *_: client, screen=screen) == 1


def test_a_terminal_that_is_gone_cancels_cleanly(app):
    """SIGHUP is what a release gets when the laptop that runs ssh is closed."""
    program = """
import os, signal, threading
from deployd.cli import main
from deployd.cli.context import Cli
from deployd.cli.render import Screen
from deployd.cli import running
from deployd.errors import CancelledError
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it was ignored if the tests run under nohup
def work(report, cancel):
    os.kill(os.getpid(), signal.SIGHUP)
    assert cancel.wait(20)
    raise CancelledError("turned back", fix="again")
cli = Cli(Screen(), make_client=lambda *_: None)
try:
    running.run(cli, work, question="?")
except CancelledError as error:
    os._exit(error.exit_code)
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60).returncode == 143
    )


def test_letters_that_the_locale_lacks_are_escaped(app):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "init", "--yes"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii:strict", "PATH": os.environ["PATH"], "DEPLOYD_STATE_DIR": str(app / "state")},
        cwd=app,
        check=False,
    )
    assert (done.returncode, done.stdout[:8]) == (0, b"\\u2713 w")


def test_a_user_without_a_home_is_told_what_to_name(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", no_home)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ConfigError) as caught:
        paths.default_state_dir()
    assert "--state-dir" in caught.value.fix


def test_the_doctor_looks_for_what_contains_builds(deployd, app, client, monkeypatch):
    client.known = {}
    monkeypatch.setattr("shutil.which", lambda name, **_path: None if name == "bwrap" else f"/usr/bin/{name}")
    client.store = SimpleNamespace(database=SimpleNamespace(told="SQLite"))
    found = json.loads(deployd("doctor", "--json").out)

    assert [one["fix"] for one in found if "bwrap" in one["what"]] == ["apt install bubblewrap"]
    monkeypatch.setenv("DEPLOYD_BUILD_SANDBOX", "off")
    assert not [one for one in json.loads(deployd("doctor", "--json").out) if "bwrap" in one["what"]]
