"""git as a program: argv in, output out. It never asks questions, and speaks only protocols that deployd knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import SourceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

_URL = re.compile(r"(?:https?|ssh|git|file)://[^\s-][^\s]*|[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+")
_KEPT = (
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "XDG_CONFIG_HOME",
    "GIT_SSH_COMMAND",
    "NETRC",
    "SSL_CERT_FILE",
    "https_proxy",
)
_LONGEST_REF = 250


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What git gets: the person's credentials helpers and agent, no prompt, no `ext::` protocol."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"} | dict(extra or {})


def run(
    *words: str,
    git_dir: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 600.0,
    cancel: threading.Event | None = None,
) -> process.Completed:
    """Run git in a repository; raises CommandError unless `check` is False."""
    place = [f"--git-dir={git_dir}"] if git_dir else []
    # a repository of another user is read, never run: hooks and filters of its own stay off
    safe = ["-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]
    return process.run(
        ["git", *safe, *place, *words], cwd=cwd, env=environment(env), check=check, timeout=timeout, cancel=cancel
    )


def checked_ref(ref: str) -> str:
    """The ref, if it can be one; raises SourceError. Quotes, spaces and `$()` are harmless: nothing is a shell's."""
    if not ref or ref.startswith("-") or len(ref) > _LONGEST_REF or re.search(r"[\x00-\x1f\x7f]", ref):
        raise SourceError(
            f"{ref!r} is not a ref",
            code="ref-invalid",
            fix="name a branch, a tag or a commit; a ref never begins with '-'",
        )
    return ref


def is_local(repository: str) -> bool:
    """Whether it is a folder of this machine."""
    return not _URL.fullmatch(repository) and Path(repository).is_dir()


def checked_repository(repository: str) -> str:
    """A repository's URL, or absolute path; raises SourceError."""
    if _URL.fullmatch(repository):
        return repository
    if repository.startswith("-") or not Path(repository).is_dir():
        raise SourceError(
            f"{repository!r} is neither a folder nor a git URL",
            code="repository-invalid",
            fix="give a folder, or a URL such as https://... or git@host:path",
        )
    return str(Path(repository).resolve())


def top(folder: Path) -> Path | None:
    """The top of the working tree that `folder` is in, or None outside of git."""
    done = run("rev-parse", "--show-toplevel", cwd=folder, check=False)
    return Path(done.text.rstrip("\n")) if done.returncode == 0 and done.text.strip() else None
