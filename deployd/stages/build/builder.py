"""SourceTree + BuildPlan -> BuildOutput: installs, builds, keeps a good build's caches, says why a bad one failed."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.domain.events import Event, Report, quiet
from deployd.domain.stages import BuildOutput, BuildPlan, SourceTree
from deployd.errors import BuildError, CommandError
from deployd.stages.build import framework, installs, limits
from deployd.stages.build.environment import Redactor, build_environment, make_home

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployd.domain.options import Build
    from deployd.domain.secret import Secret

_TOLD_LINES = 30
_TELLING = re.compile(r"error|failed|cannot find|not found|unexpected|ERR!|\u2a2f|\u2716|ELIFECYCLE", re.IGNORECASE)
_HINTS = (
    (
        re.compile(
            r"can only install packages when your package\.json and package-lock\.json"
            r"|ERR_PNPM_(?:OUTDATED|FROZEN)_LOCKFILE|lockfile needs to be updated|YN0028|lockfile is frozen"
        ),
        "the lock file does not match package.json: install once on your machine, and commit the lock file",
    ),
    (
        re.compile(r"JavaScript heap out of memory"),
        "the build ran out of memory: set NODE_OPTIONS=--max-old-space-size=4096 with `deployd env set --build`",
    ),
    (
        re.compile(r"ENOSPC|no space left on device", re.IGNORECASE),
        "the disk of this machine is full: make room below deployd's state folder",
    ),
)


def build(
    source: SourceTree,
    plan: BuildPlan,
    *,
    options: Build,
    caches: Path,
    log: Path,
    variables: Mapping[str, Secret],
    node: Path,
    use_cache: bool = True,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> BuildOutput:
    """Install and build in the checkout.

    `caches` is the app's own cache folder, `log` the file that keeps the output, `variables` the build-time ones.
    Raises BuildError with the lines that matter, CancelledError once `cancel` is set.
    """
    started = time.monotonic()
    app_dir, folder = Path(source.app_dir), Path(plan.lockfile).parent
    make_home(caches / "home")
    for stray in framework.lockfiles_above(Path(source.root)):
        report(Event.WARNING, what=f"{stray} lies above the checkout: Next.js may take its folder for the app's root")
    clear = {name: secret.reveal() for name, secret in variables.items()}
    env = build_environment(
        node=node,
        tools=installs.tools(plan, caches=caches.parent, cancel=cancel),
        home=caches / "home",
        variables=clear | _told_to_next(plan),
    )
    with _logged(log, variables=clear, report=report) as on_line:
        runner = _Runner(env=env, options=options, on_line=on_line, cancel=cancel, log=log, report=report)
        kept = caches / "installs" / installs.key(plan, folder=folder)
        if use_cache and installs.restore(kept, folder=folder):
            report(Event.INSTALL_SKIPPED, manager=plan.manager, lockfile=Path(plan.lockfile).name)
        else:
            runner.run(plan.install, cwd=folder, what="installing the packages", production=False)
        if plan.framework == "nextjs":
            framework.check_next(framework.installed_next(app_dir, Path(source.root)))
        next_cache, app_cache = app_dir / ".next" / "cache", _kept_cache(caches, plan=plan, source=source)
        shutil.rmtree(app_dir / ".next", ignore_errors=True)  # committed by mistake, or the working tree's
        if use_cache and app_cache.is_dir():
            _copy_tree(app_cache, next_cache)
        try:
            runner.run(plan.command, cwd=app_dir, what="the build", production=True)
        except BuildError as error:
            if error.code == "build-failed":  # it ended by itself: the mended commit need not install again
                _keep_install(plan, folder=folder, caches=caches)
            raise
    built = int(time.time())
    if plan.framework == "nextjs":
        _check_output(app_dir, log=log)
        if next_cache.is_dir():
            _replace_tree(next_cache, app_cache)
    return BuildOutput(
        root=source.root,
        app_dir=source.app_dir,
        plan=plan,
        built=built,
        log=str(log),
        seconds=time.monotonic() - started,
    )


def keep_install(output: BuildOutput, *, caches: Path) -> None:
    """Take the installed packages out of the checkout, for the next build. Call it when the files were packaged."""
    _keep_install(output.plan, folder=Path(output.plan.lockfile).parent, caches=caches)


def _keep_install(plan: BuildPlan, *, folder: Path, caches: Path) -> None:
    installs.keep(caches / "installs" / installs.key(plan, folder=folder), folder=folder)


def _told_to_next(plan: BuildPlan) -> dict[str, str]:
    return {
        "NEXT_PRIVATE_STANDALONE": "1",  # standalone from outside: no edit of next.config
        "NEXT_DEPLOYMENT_ID": plan.build_id,
        "NEXT_IGNORE_INCORRECT_LOCKFILE": "1",  # 15 edits the lock file otherwise
    }


class _Runner:
    """Runs the app's own commands under the build's limits, and turns a failure into its telling lines."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        options: Build,
        on_line: Callable[[str], str],
        cancel: threading.Event | None,
        log: Path,
        report: Report,
    ) -> None:
        self._env, self._options, self._on_line = env, options, on_line
        self._cancel, self._log, self._report = cancel, log, report

    def run(self, argv: Sequence[str], *, cwd: Path, what: str, production: bool) -> None:
        told: list[str] = []

        def on_line(line: str) -> None:
            told.append(self._on_line(line))

        words, warning = limits.limited(argv, memory=self._options.memory, cpus=self._options.cpus)
        if warning:
            self._report(Event.WARNING, what=warning)
        try:
            done = process.run(
                words,
                cwd=cwd,
                env=self._environment(production=production),
                timeout=self._options.timeout,
                check=False,
                on_line=on_line,
                cancel=self._cancel,
            )
        except CommandError as error:
            late = error.code == "command-timeout"
            raise BuildError(
                f"{what} took longer than {self._options.timeout:g} s and was ended" if late else error.what,
                code="build-timeout" if late else error.code,
                details=telling(told),
                fix=f"raise build.timeout in deployd.toml, or see why it hangs: {self._log}" if late else error.fix,
            ) from None
        if done.returncode != 0:
            raise BuildError(
                f"{what} failed: `{' '.join(argv)}` exited with {done.returncode}",
                code="install-failed" if not production else "build-failed",
                details=telling(told),
                fix=_hint(told) or f"mend it and commit; the whole output is in {self._log}",
            )

    def _environment(self, *, production: bool) -> dict[str, str]:
        # with NODE_ENV=production an install leaves out what the build needs (TypeScript, say)
        env = {name: value for name, value in self._env.items() if name != "NODE_ENV"}
        return env | ({"NODE_ENV": "production"} if production else {})


@contextmanager
def _logged(log: Path, *, variables: Mapping[str, str], report: Report) -> Iterator[Callable[[str], str]]:
    redact = Redactor(variables)
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="replace") as out:  # noqa: PTH123 - a descriptor

        def on_line(line: str) -> str:
            clean = redact(line)
            out.write(clean + "\n")
            out.flush()
            report(Event.BUILD_OUTPUT, line=clean)
            return clean

        yield on_line


def telling(lines: Sequence[str]) -> str | None:
    """The lines that matter: from the first that tells of an error, at most thirty; else the last thirty."""
    plain = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip() for line in lines]
    plain = [line for line in plain if line]
    first = next((n for n, line in enumerate(plain) if _TELLING.search(line)), max(0, len(plain) - _TOLD_LINES))
    return "\n".join(plain[max(0, first - 2) : first + _TOLD_LINES]) or None


def _hint(lines: Sequence[str]) -> str | None:
    text = "\n".join(lines[-200:])
    return next((fix for pattern, fix in _HINTS if pattern.search(text)), None)


def _check_output(app_dir: Path, *, log: Path) -> None:
    if (app_dir / ".next" / "standalone").is_dir() and (app_dir / ".next" / "required-server-files.json").is_file():
        return
    if (app_dir / "out").is_dir():
        raise BuildError(
            "this app is a static export (output: 'export'), which deployd does not release yet",
            code="output-export",
            fix="take `output: 'export'` out of next.config; deployd asks for a standalone build by itself",
        )
    raise BuildError(
        "the build ended well, but left no standalone server in .next",
        code="build-output-missing",
        fix=f"does the build script run `next build`, with its default distDir? The output is in {log}",
    )


def _kept_cache(caches: Path, *, plan: BuildPlan, source: SourceTree) -> Path:
    inside = Path(source.app_dir).relative_to(source.root).as_posix()
    slug = "root" if inside == "." else inside.replace("/", "__")
    return caches / "next" / (plan.environment or "any") / slug


def _copy_tree(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    process.run(["cp", "-a", "--reflink=auto", "--", str(source), str(target)], timeout=600)


def _replace_tree(source: Path, target: Path) -> None:
    """Put a copy of `source` at `target`; a reader meets the old one or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    for path in (fresh, old):
        shutil.rmtree(path, ignore_errors=True)
    _copy_tree(source, fresh)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
