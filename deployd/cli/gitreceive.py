"""`deployd git-receive`: what sshd runs for a key that may push; the release's progress goes to the pusher's terminal.

    git push deployd@control:web main

sshd's forced command names the key; what the pusher asked for is in SSH_ORIGINAL_COMMAND. git calls the hook, which is
this command again, before it keeps anything.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli import running, wire
from deployd.cli.outcome import conclude
from deployd.cli.verbs import verb
from deployd.domain.ids import AppName
from deployd.domain.options import APP_FILE
from deployd.errors import CancelledError, DeploydError, NotAllowedError, UsageError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.domain.events import Report
    from deployd.domain.ids import RolloutId
    from deployd.rollouts.wishes import RolloutResult
    from deployd.stages.source.receiving import Repositories

BRANCHES, TAGS = "refs/heads/", "refs/tags/"

_APP, _KEY = "GIT_DEPLOYD_APP", "GIT_DEPLOYD_KEY"
_ZEROS = re.compile(r"0+")
_GOOD = frozenset({"live", "prepared", "waiting", "ignored", None})
_HELD = re.compile(r"\b(?:pinned|frozen|freeze)\b")
_LOOK = 0.2  # seconds


@verb(example="deployd git-receive --key anna", hidden=True)
def git_receive(
    cli: Cli,
    app: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="The app. [default: what SSH_ORIGINAL_COMMAND names]")
    ] = None,
    *,
    key: Annotated[str | None, typer.Option("--key", metavar="NAME", help="Whose key this is.")] = None,
    hook: Annotated[bool, typer.Option("--hook", help="Called by git, with what was pushed on stdin.")] = False,
) -> int:
    """Take a push over SSH. sshd runs this for keys of `deployd key add`; nobody types it."""
    return _hook(cli) if hook else _receive(cli, app, key or "")


def _receive(cli: Cli, named: str | None, key: str) -> int:
    from deployd.stages.source import receiving

    app = _wanted(named)
    _allowed(cli, app, key)
    repositories = _repositories(cli, app)
    repositories.make()
    _register(cli, app, repositories)
    hooks = _write_hook(repositories.folder)
    environment = receiving.receive_environment(
        {_APP: app, _KEY: key, "DEPLOYD_STATE_DIR": str(cli.paths.root), "NO_COLOR": "1"}
    )
    argv = receiving.receive_argv(repositories.pushed, hooks)
    cli.close()
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - git takes this process's place: no shell
    return 1


def _wanted(named: str | None) -> AppName:
    """The app of `git-receive-pack 'web'`; raises UsageError or NotAllowedError."""
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        words = shlex.split(asked)
    except ValueError:
        words = []
    if words[:1] in (["git-upload-pack"], ["git-upload-archive"]):
        raise NotAllowedError(
            "this key can push, and not fetch", code="git-push-only", fix="clone from where the repository lives"
        )
    if named is None and (len(words) != 2 or words[0] != "git-receive-pack"):  # noqa: PLR2004 - program and repository
        raise NotAllowedError(
            "this key can push with git, and nothing else",
            code="git-push-only",
            fix="git push deployd@HOST:APP main",
        )
    text = named or words[1].removeprefix("/").removesuffix("/").removesuffix(".git")
    try:
        return AppName.parse(text)
    except ValueError as error:
        raise UsageError(str(error), code="name-invalid", fix="git push deployd@HOST:APP main") from error


def _allowed(cli: Cli, app: AppName, key: str) -> None:
    for known in cli.daemon.pushes.git_keys():
        if known["name"] == key and (not known["apps"] or app in known["apps"]):
            return
    raise NotAllowedError(
        f"key {key or '?'} may not push to {app}",
        code="key-app",
        fix=f"on the control machine: deployd key add NAME FILE --app {app}",
    )


def _repositories(cli: Cli, app: str) -> Repositories:
    from deployd.stages.source.receiving import Repositories

    return Repositories(folder=cli.paths.root / "git", app=app)


def _register(cli: Cli, app: AppName, repositories: Repositories) -> None:
    known = next((one for one in cli.daemon.apps() if one.name == app), None)
    if known is None:
        cli.daemon.add_app(app, repository=str(repositories.checked), subdir="")
    elif known.repository != str(repositories.checked):
        raise UsageError(
            f"{app} is released from {known.repository}",
            code="git-other-source",
            fix=f"push there; or, to push here from now on: deployd app add {app} --repository {repositories.checked}",
        )


def _write_hook(folder: Path) -> Path:
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o700, exist_ok=True)
    script, aside = hooks / "pre-receive", hooks / f".pre-receive.{os.getpid()}"
    start = "from deployd.cli.main import main; main()"
    program = shlex.join([sys.executable, "-c", start, "git-receive", "--hook"])
    aside.write_text(f"#!/bin/sh\nexec {program}\n")
    aside.chmod(0o700)
    aside.replace(script)
    return hooks


# the hook


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """One ref of a push; `before` None: it is new, `after` None: it is to be deleted."""

    ref: str
    before: str | None
    after: str | None

    @property
    def tag(self) -> bool:
        """Whether it is a tag."""
        return self.ref.startswith(TAGS)

    @property
    def branch(self) -> bool:
        """Whether it is a branch."""
        return self.ref.startswith(BRANCHES)

    @property
    def name(self) -> str:
        """The branch's or tag's name; the whole ref of others."""
        return self.ref.removeprefix(BRANCHES).removeprefix(TAGS)


def _hook(cli: Cli) -> int:
    app = AppName.parse(os.environ.get(_APP, ""))
    repositories = _repositories(cli, app)
    pushed = sorted(map(_moved, sys.stdin.read().splitlines()), key=lambda one: one.ref)
    with wire.to_pusher() as gone, ExitStack() as turns:
        for one in pushed:
            turns.callback(os.close, _turn(cli, repositories, one, gone))
        refused = [one for one in pushed if not _may(cli, repositories, one)]
        if not refused:
            released = [one for one in pushed if one.after and (one.branch or one.tag)]
            refused = [one for one in released if not _release(cli, app, repositories, one, gone=gone)]
            _tell_taken(cli, [one for one in released if one not in refused] if refused else [])
        if not refused:
            for one in pushed:
                _keep(cli, repositories, one)
    return 1 if refused else 0


def _tell_taken(cli: Cli, taken: list[_Moved]) -> None:
    """What went through in a push that is refused for another of its refs."""
    for one in taken:
        cli.out.line(f"{one.name} was taken, and git refuses it too: push it again, nothing is released twice")


def _moved(line: str) -> _Moved:
    before, after, ref = line.split(" ", 2)
    none = _ZEROS.fullmatch
    return _Moved(ref=ref, before=None if none(before) else before, after=None if none(after) else after)


def _turn(cli: Cli, repositories: Repositories, one: _Moved, gone: threading.Event) -> int:
    """Hold the ref; raises CancelledError when the pusher left before another push of it was at its end."""
    told = False
    while (turn := repositories.take_turn(one.ref)) is None:
        if not told:
            cli.out.line(f"another push of {one.name} is going on: waiting for its end")
        told = True
        if gone.wait(_LOOK):
            raise CancelledError("the pusher left", fix="push again")
    return turn


def _may(cli: Cli, repositories: Repositories, one: _Moved) -> bool:
    if one.after is None and repositories.stays(one.ref):
        cli.out.line(f"{one.name} cannot be deleted: its {APP_FILE} says which branch is for which environment")
        return False
    if repositories.moved(one.ref, one.before):
        cli.out.line(f"{one.name} was pushed by somebody else in the meantime: fetch that, and push again")
        return False
    return True


def _keep(cli: Cli, repositories: Repositories, one: _Moved) -> None:
    if one.after is None:
        repositories.take_back(one.ref, None)
        cli.out.line(f"{one.name} is deleted; what is live stays live")
    elif not (one.branch or one.tag):
        cli.out.line(f"{one.ref} is kept; only branches and tags are released")


def _release(cli: Cli, app: AppName, repositories: Repositories, one: _Moved, *, gone: threading.Event) -> bool:
    """Show the daemon the ref, and follow what it makes of it; False when the push is to be refused."""
    commit = repositories.commit(one.after or "")
    if commit is None:
        cli.out.line(f"{one.name} is kept; it names no commit")
        return True
    seen = repositories.at(one.ref)
    repositories.show(one.ref, one.after or "")
    bad: list[dict[str, Any]] | None = None
    try:
        who = os.environ.get(_KEY) or "git"
        # an annotated tag's id is no commit's
        before = one.before if one.branch else None
        rollout = cli.daemon.pushes.push(app, name=one.name, tag=one.tag, commit=commit, before=before, who=who)
        found = _ended(cli, app, rollout, gone)
        bad = [each for each in found if each["outcome"] not in _GOOD]
    finally:
        if bad != []:
            repositories.take_back(one.ref, seen)
    if not bad:
        return True
    live = ", ".join(each["environment"] for each in found if each["outcome"] == "live")
    failed = ", ".join(each["environment"] or each["outcome"] for each in bad)
    still = f"live in {live}, and not in {failed}" if live else "not released; what was live is live"
    cli.out.line(f"{one.name} is refused: {commit[:10]} is {still}")
    return False


def _ended(cli: Cli, app: AppName, rollout: RolloutId, gone: threading.Event) -> list[dict[str, Any]]:
    """Follow a push's rollouts to their end, one for each environment that it is for."""
    _follow(cli, rollout, gone)
    found = _placed(cli, app, rollout)
    for other in found:
        if other["id"] != rollout:
            _follow(cli, other["id"], gone)
    found = cli.daemon.pushes.pushed(app, rollout)
    for one in found:
        if one["outcome"] == "ignored":
            cli.out.line(f"kept, not released: {one['reason']}")
    return found


def _placed(cli: Cli, app: AppName, rollout: RolloutId) -> list[dict[str, Any]]:
    found = cli.daemon.pushes.pushed(app, rollout)
    for one in found:
        if one["state"] == "waiting" and _HELD.search(one["reason"] or ""):
            cli.daemon.cancel(one["id"])
    return found


def _follow(cli: Cli, rollout: Any, gone: threading.Event) -> None:
    """Show a rollout's progress; how it ended is asked for afterwards.

    What a pin or a freeze holds is given up, and so is what nobody waits for any more: a pusher's Ctrl-C cancels.
    """
    while True:
        story = cli.daemon.story(rollout)
        state, reason = story["ask"]["state"], story["ask"]["reason"] or ""
        if state != "waiting":
            break
        if _HELD.search(reason) or gone.is_set():
            cli.out.line(f"it would have to wait: {reason}")
            cli.daemon.cancel(rollout)
            return
        time.sleep(_LOOK)
    if story["ask"]["outcome"] == "ignored":
        return

    def attend(report: Report, cancel: threading.Event) -> RolloutResult:
        wire.link(gone, cancel)
        return cli.daemon.attend(rollout, report=report, cancel=cancel)

    try:
        conclude(cli, running.run(cli, attend, question="Cancel this push?"))
    except DeploydError as error:
        cli.out.error(error)
