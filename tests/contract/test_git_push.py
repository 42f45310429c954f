"""`git push` over what sshd would run: kept, refused, and what a key may not; a real daemon and real git, no sshd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

DEPLOYD = [sys.executable, "-c", "from deployd.cli.main import main; main()"]
FILE = 'name = "web"\n[environments.production]\nbranch = "main"\n'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl anna@laptop"


class Control:
    """A daemon in a folder, a repository, and the script in ssh's place."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.log = (folder / "log").open("wb")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DEPLOYD_", "GIT_"))},
            "DEPLOYD_STATE_DIR": str(self.state),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.daemon = subprocess.Popen([*DEPLOYD, "serve"], env=self.environment, stdout=self.log, stderr=self.log)
        self.work = folder / "work"
        self.work.mkdir()
        ssh = folder / "ssh"
        # as sshd does: the forced command of the key, and what the client asked for in a variable
        forced = " ".join(f"'{word}'" for word in [*DEPLOYD, "git-receive", "--key", "anna"])
        ssh.write_text(f'#!/bin/sh\nfor last; do :; done\nSSH_ORIGINAL_COMMAND="$last" exec {forced}\n')
        ssh.chmod(0o700)
        self.ssh = ssh
        self.git("init", "--quiet", "--initial-branch=main")

    def deployd(self, *words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DEPLOYD, *words],
            env=self.environment,
            check=check,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
        )

    def ready(self) -> None:
        deadline = time.monotonic() + 60
        while self.deployd("key", "list", check=False).returncode:
            assert time.monotonic() < deadline, "the daemon did not come"
            assert self.daemon.poll() is None, "the daemon ended"
            time.sleep(0.2)

    def git(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.ext.allow=never"]
        environment = {**self.environment, "GIT_SSH_COMMAND": str(self.ssh) if hasattr(self, "ssh") else "false"}
        return subprocess.run(
            ["git", *identity, *words],
            cwd=self.work,
            env=environment,
            check=check,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def commit(self, text: str = FILE, message: str = "more") -> str:
        (self.work / "deployd.toml").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, ref: str = "main", *, app: str = "web", force: bool = False) -> subprocess.CompletedProcess[str]:
        return self.git("push", *(["--force"] if force else []), f"deployd@control:{app}", ref, check=False)

    def kept(self, branch: str, *, checked: bool = False) -> str | None:
        folder = self.state / "git" / ("web.checked.git" if checked else "web.git")
        done = subprocess.run(
            ["git", f"--git-dir={folder}", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip() or None

    def end(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(30)
        self.log.close()


@pytest.fixture
def control(tmp_path: Path) -> Any:
    made = Control(tmp_path)
    try:
        made.ready()
        made.deployd("key", "add", "anna", "-", "--app", "web", stdin=KEY)
        yield made
    finally:
        made.end()


def test_a_push_is_kept_refused_or_not_allowed(control):
    # a branch that no environment is for: kept
    control.git("checkout", "--quiet", "-b", "feature")
    first = control.commit()
    done = control.push("feature")
    assert done.returncode == 0, done.stderr
    assert "kept, not released: no environment of web is for branch feature" in done.stderr
    assert control.kept("feature") == first

    # production's branch, whose release fails (it has no hosts): refused, with the reason, and nothing is kept
    control.git("checkout", "--quiet", "-b", "main")
    second = control.commit(message="second")
    done = control.push()
    assert done.returncode != 0
    assert "environment production of web has no hosts" in done.stderr
    assert "pre-receive hook declined" in done.stderr
    assert control.kept("main") is None
    assert control.kept("main", checked=True) is None
    rollouts = json.loads(control.deployd("app", "list", "--json").stdout)
    assert [app["name"] for app in rollouts] == ["web"]

    # of two branches in one push one is refused: git takes both or none, and it is told which one was not at fault
    done = control.git("push", "deployd@control:web", "main", "main:apart", check=False)
    assert done.returncode != 0
    assert "main is refused" in done.stderr
    assert "apart was taken, and git refuses it too" in done.stderr
    assert control.kept("apart") is None

    # the same commit may be pushed to a branch that is only kept, also by force
    assert control.push("main:feature", force=True).returncode == 0
    assert control.kept("feature") == second
    # a branch can be deleted
    assert control.push(":feature").returncode == 0
    assert control.kept("feature") is None

    # [skip deploy] is kept
    third = control.commit(message="words [skip deploy]")
    done = control.push()
    assert done.returncode == 0, done.stderr
    assert "skip deploy" in done.stderr
    assert control.kept("main") == third

    # the default branch's file is of another app: it is said, and not that no environment has the branch
    control.commit(FILE.replace("web", "shop"))
    done = control.push()
    assert (done.returncode, control.kept("main") == third) == (0, False)
    assert "the default branch has no deployd.toml of an app web" in done.stderr

    # another app, another program, a stranger's name
    done = control.push(app="other")
    assert done.returncode != 0
    assert "key anna may not push to other" in done.stderr
    for asked in (
        "git-upload-pack 'web'",
        "sh -c id",
        "git-receive-pack '../../etc'",
        "git-receive-pack 'web' x",
        "",
        "git-receive-pack '--help'",
    ):
        done = subprocess.run(
            [*DEPLOYD, "git-receive", "--key", "anna"], env={**control.environment, "SSH_ORIGINAL_COMMAND": asked},
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode in {2, 5}, (asked, done)
        assert "✗" in done.stderr


def test_the_line_for_sshd_allows_the_push_alone(control):
    line = (control.state / "git" / "authorized_keys").read_text()
    assert line.startswith('restrict,command="deployd git-receive --state-dir ')
    assert line.rstrip().endswith("anna")
    assert (control.state / "git" / "authorized_keys").stat().st_mode & 0o777 == 0o600
    for bad in ('command="sh" ' + KEY, "ssh-ed25519 AAAA", "hello", KEY.replace("ssh-ed25519", "ssh-rsa")):
        assert control.deployd("key", "add", "bob", "-", check=False, stdin=bad).returncode == 2
    control.deployd("key", "remove", "anna")
    assert (control.state / "git" / "authorized_keys").read_text() == ""
    assert control.push().returncode != 0
