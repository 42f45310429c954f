"""Artifact, runtime and variables -> Verified: laid out, started alone, asked for all that is known; and what follows.

A trial says what is missing. It does not say that an app works: a page that needs a database fails in it, and is told.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import sandbox
from deployd.errors import CancelledError, PackageError, SandboxError
from deployd.stages.verify import findings, images, laying, routes
from deployd.stages.verify.server import ROOT, Answer, Server
from deployd.stages.verify.values import Finding, Verified

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence

    from deployd.domain.artifact import Manifest
    from deployd.domain.options import Verify
    from deployd.domain.secret import Secret
    from deployd.stages.verify.checkout import Checkout
    from deployd.stages.verify.routes import Question

AT_ONCE = 6
_STARTS = 3
_FAILED = 500
_FIRST = 10.0  # seconds until the first answer
_TOLD_LINES = 12
_SHORTEST_SECRET = 4


def verify(
    manifest: Manifest,
    *,
    artifacts: Path,
    folder: Path,
    node: Path,
    options: Verify,
    paths: Iterable[str] = (),
    host: str = "localhost",
    variables: Mapping[str, Secret] | None = None,
    checkout: Checkout | None = None,
    foreign: bool = False,
    cancel: threading.Event | None = None,
) -> Verified:
    """Try an artifact alone. `folder` is where it is laid out for as long as that takes; best on the artifacts' disk.

    `paths` are asked besides the known routes and `options.paths`; `host` is the Host header. `checkout` is the tree it
    was made from, which says what could have come along. `foreign` means that the hosts have another CPU. Raises
    PackageError when an object is missing, CancelledError once `cancel` is set.
    """
    begun = time.monotonic()
    asked = tuple(dict.fromkeys([*paths, *options.paths]))
    if manifest.static is not None:
        return Verified(paths=asked, started=True, findings=_static(manifest), seconds=time.monotonic() - begun)
    try:
        sandbox.check()
    except SandboxError as error:
        finding = Finding(kind="start", what=f"the artifact was not tried alone: {error.what}", fix=error.fix)
        return Verified(paths=(), started=False, findings=(finding,), seconds=time.monotonic() - begun)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    clear = {name: secret.reveal() for name, secret in (variables or {}).items()}
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".trial-") as name,
        sandbox.private(Path(name), home="/tmp") as private,  # noqa: S108 - the sandbox's own
    ):
        laid = laying.lay_out(manifest, artifacts=artifacts, into=Path(name))
        questions = routes.questions(manifest, laid.tree, more=asked)
        watched = [str(checkout.root), findings.BUNDLED] if checkout else []
        with Server(
            laid, entry=manifest.entry, node=node, variables=clear, watched=watched, folder=Path(name), private=private
        ) as server:
            trial = _Trial(server, host=host, deadline=begun + options.timeout, cancel=cancel)
            answers = trial.run(questions)
            image = trial.ask_image(answers)
        seen = findings.Seen(
            events=findings.events_of(server.events),
            output=server.output,
            answers=answers,
            ended=trial.ended,
        )
    found = findings.judge(
        seen,
        checkout=checkout,
        written=[*manifest.writable.values(), *manifest.seeded.values()],
        built=routes.dist_of(manifest),
        foreign=foreign,
    )
    return Verified(
        paths=tuple(answer.question.path for answer in answers if answer.status is not None),
        started=any(answer.status is not None for answer in answers),
        findings=(
            *found,
            *_of_image(image, manifest, checkout, found),
            *_told(seen, trial=trial, clear=clear, explained=any(one.error for one in found)),
        ),
        seconds=time.monotonic() - begun,
    )


class _Trial:
    """Starts the server, asks everything, and starts it again when a question ended it."""

    def __init__(self, server: Server, *, host: str, deadline: float, cancel: threading.Event | None) -> None:
        self._server, self._host, self._deadline, self._cancel = server, host, deadline, cancel
        self.ended = False
        self.exit_code: int | None = None

    def run(self, questions: Sequence[Question]) -> tuple[Answer, ...]:
        """Every answer, in the order of the questions."""
        done: dict[str, Answer] = {}
        for _ in range(_STARTS):
            left = [one for one in questions if one.path not in done or done[one.path].status is None]
            if not left or time.monotonic() >= self._deadline:
                break
            if done:  # the one that was asked first may be what ended it
                left = [*left[1:], left[0]]
            self._server.start()
            done |= {answer.question.path: answer for answer in self._ask_all(left)}
            cut = any(answer.status is None for answer in done.values())
            self.exit_code = self._server.exit_code(within=1.0 if cut else 0.0)
            if self.exit_code is None:
                break
            self.ended = True
            if not any(answer.status is not None for answer in done.values()):
                break  # it cannot start
        if self._cancel and self._cancel.is_set():
            raise CancelledError("the trial of the artifact was cancelled", fix="run it again when you are ready")
        return tuple(done.values())

    def ask_image(self, answers: Sequence[Answer]) -> Answer | None:
        """The answer of an image that a page links, if there is one."""
        question = images.question_of(answers)
        return self._ask(question, until=self._deadline) if question else None

    def _ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        first = self._ask(questions[0], until=min(self._deadline, time.monotonic() + _FIRST))
        if first.status is None:
            return [first]
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="verify") as pool:
            return [first, *pool.map(lambda one: self._ask(one, until=self._deadline), questions[1:])]

    def _ask(self, question: Question, *, until: float) -> Answer:
        return self._server.ask(question, host=self._host, deadline=until, cancel=self._cancel)


def _told(seen: findings.Seen, *, trial: _Trial, clear: Mapping[str, str], explained: bool) -> list[Finding]:
    """What is no missing file, and so only told: a server that did not start, answers that are errors."""
    if not any(answer.status is not None for answer in seen.answers):
        how = f"ended with {trial.exit_code}" if trial.ended else "did not answer"
        said = _last_lines(seen.output, clear)
        return [
            Finding(
                kind="start",
                what=f"the server {how} when it was tried alone" + (f"; it said:\n{said}" if said else ""),
                fix="what it lacks is told apart"
                if explained
                else "if it needs its database or network to start, this is as expected: the hosts' probe decides",
            )
        ]
    found = []
    for answer in () if explained else seen.answers:
        if answer.question.guessed:
            continue
        if answer.status is None:
            found.append(_answer(f"{answer.question.path} got no answer when it was tried alone: {answer.error}"))
        elif answer.status >= _FAILED:
            found.append(_answer(f"{answer.question.path} answered {answer.status} when it was tried alone"))
    return found


def _of_image(
    image: Answer | None, manifest: Manifest, checkout: Checkout | None, known: Sequence[Finding]
) -> list[Finding]:
    if image is None or any(finding.kind == "native" and finding.error for finding in known):
        return []
    has_sharp = any("node_modules/sharp/" in entry.path for entry in manifest.files)
    found = images.judge(image, checkout, has_sharp=has_sharp)
    return [found] if found else []


def _answer(what: str) -> Finding:
    return Finding(
        kind="answer", what=what, fix="as expected where it needs a database or a network: there is none there"
    )


def _last_lines(output: str, clear: Mapping[str, str]) -> str:
    for value in sorted(clear.values(), key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            output = output.replace(value, "***")
    lines = [line.rstrip() for line in output.replace(f"{ROOT}/", "").splitlines() if line.strip()]
    return "\n".join(lines[-_TOLD_LINES:])


def _static(manifest: Manifest) -> tuple[Finding, ...]:
    """A site without a process: the files that its answers name are there."""
    site, names = manifest.static, {entry.path for entry in manifest.files}
    if site is None:
        return ()
    prefix = f"{site.folder}/" if site.folder not in ("", ".") else ""
    found = [
        Finding(
            kind="file", what=f"the site has no {prefix}{name}, which is its {what}", error=True,
            fix="see what the build writes, and build.output in deployd.toml",
        )
        for name, what in ((site.not_found, "404 page"), (site.fallback, "page for unknown paths"))
        if name and f"{prefix}{name}" not in names and name not in names
    ]  # fmt: skip
    # a site that stands below a path has all its files there
    top = os.path.commonpath([name for name in names if name.startswith(prefix)] or [prefix])
    if not names.intersection((f"{prefix}index.html", f"{top}/index.html")):
        found.append(
            Finding(
                kind="file",
                what=f"the site has no {prefix}index.html: / is answered with 404",
                fix="see what the build writes, and build.output in deployd.toml",
            )
        )
    return tuple(found)


def refusal(found: Iterable[Finding]) -> PackageError | None:
    """The error that stops a release, when something is missing; None when nothing is."""
    errors = [finding for finding in found if finding.error]
    if not errors:
        return None
    line = findings.include_line(errors)
    rest = [finding for finding in errors if finding.include is None]
    fix = f"write into deployd.toml, below [trace]: {line}" if line else errors[0].fix
    return PackageError(
        errors[0].what + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""),
        code="artifact-incomplete" if any(finding.kind != "native" for finding in errors) else "native-mismatch",
        live="unchanged",
        details="\n".join([*(finding.what for finding in errors), *(finding.fix for finding in rest if line)]),
        fix=fix + ('; or, when it is not needed, below [verify]: mode = "warn"' if line else ""),
    )
