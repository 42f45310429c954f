"""SourceTree + BuildPlan -> BuildOutput: installs and builds in a sandbox, keeps a good build's caches, says why a bad
one failed.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process, sandbox
from deployd.domain.events import Event, Report, quiet
from deployd.domain.stages import BuildOutput, BuildPlan, SourceTree
from deployd.errors import BuildError, CancelledError, CommandError
from deployd.stages.build import (
    atinstall,
    cache,
    failing,
    frameworkcache,
    installs,
    limits,
    nextapp,
    outcome,
    platforms,
    runtime,
    told,
)
from deployd.stages.build.buildlog import logged
from deployd.stages.build.environment import build_environment
from deployd.stages.build.ground import ground as ground_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployd.domain.options import Build
    from deployd.domain.secret import Secret
    from deployd.stages.build.ground import Ground
    from deployd.stages.build.left import Left

_PLUG_N_PLAY = (".pnp.cjs", ".pnp.js", ".pnp.loader.mjs", ".pnp.data.json")
_REMEMBERED = 20_000
_ASSETS_HOOK = Path(__file__).with_name("nextassets.cjs")


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
    contained: bool = True,
    hidden: Sequence[Path] = (),
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> BuildOutput:
    """Install and build in the checkout.

    `caches` is the app's own cache folder, `log` the file that keeps the output, `variables` the build-time ones.
    `contained` runs the app's code in a sandbox that never sees the `hidden` folders.
    Raises BuildError with the lines that matter, SandboxError, CancelledError once `cancel` is set.
    """
    started = time.monotonic()
    app_dir, folder = Path(source.app_dir), _install_folder(plan, app_dir=Path(source.app_dir))
    zone, cached = cache.zone(caches, plan.environment), frameworkcache.kept(caches, plan=plan, source=source)
    _refuse_outside(app_dir, folder, root=Path(source.root))
    clear = {name: secret.reveal() for name, secret in variables.items()}
    tools = installs.tools(plan, caches=caches.parent, cancel=cancel)
    headers = runtime.headers(node)
    if headers:
        sandbox.show(headers / "include")  # deployd's umask left its folders to deployd alone
    if not contained:
        report(Event.WARNING, what="this build runs without a sandbox (build_sandbox)", code="build-uncontained")
    with (
        ground_of(
            root=Path(source.root),
            zone=zone,
            node=node,
            tools=tools,
            hidden=hidden,
            contained=contained,
            readable=(*((_ASSETS_HOOK,) if plan.asset_prefix else ()), *((headers / "include",) if headers else ())),
        ) as ground,
        logged(log, variables=clear, report=report) as on_line,
    ):
        runner = _Runner(
            env=build_environment(
                ground, manager=plan.manager, root=source.root, variables=clear | told.variables(plan)
            ),
            ground=ground, options=options, on_line=on_line, cancel=cancel, log=log, report=report,
            hook=told.hook(plan, str(_ASSETS_HOOK), variables=clear),
            headers={"npm_config_nodedir": str(headers)} if headers else {},
        )  # fmt: skip
        if plan.install:  # pages as they are, without package.json, need none
            _install(plan, runner, folder=folder, app_dir=app_dir, zone=zone, use_cache=use_cache, report=report)
        if plan.framework == "nextjs":
            nextapp.check(nextapp.installed(app_dir, Path(source.root)), said=options.framework == "nextjs")
        _remove(app_dir / ".next")  # committed by mistake, or the working tree's
        if use_cache:
            frameworkcache.restore(cached, root=Path(source.root), app_dir=app_dir)
        begun = time.time()
        try:
            if plan.command:
                runner.run(plan.command, cwd=app_dir, what="the build", production=True)
        except BuildError as error:
            if error.code == "build-failed":  # it ended by itself: the mended commit need not install again
                _keep_untouched(plan, folder=folder, caches=caches, since=begun)
            raise
    built = int(time.time())
    _tell_changed_lock(plan, report)
    left = _left(plan, app_dir=app_dir, root=Path(source.root), log=log)
    for warning in left.warnings:
        report(Event.WARNING, what=warning, code="build-warning")
    with _best_effort("the build's caches were not kept", report):
        frameworkcache.keep(cached, plan=plan, folder=left.folder, root=Path(source.root), app_dir=app_dir)
    return BuildOutput(
        root=source.root,
        app_dir=source.app_dir,
        plan=plan,
        built=built,
        log=str(log),
        seconds=time.monotonic() - started,
        **left.fields(),
    )


def _install(
    plan: BuildPlan, runner: _Runner, *, folder: Path, app_dir: Path, zone: Path, use_cache: bool, report: Report
) -> None:
    """Have the packages in the checkout: those of an earlier build of the same lock file, else new ones."""
    for name in _PLUG_N_PLAY if plan.manager == "yarn" else ():  # Yarn takes them away; esbuild would believe them
        _remove(folder / name)
    if use_cache and installs.restore(zone / "installs" / installs.key(plan, folder=folder), folder=folder):
        report(Event.INSTALL_SKIPPED, manager=plan.manager, lockfile=Path(plan.lockfile).name)
        for words, place in atinstall.commands(plan, folder=folder, app_dir=app_dir):
            runner.run(words, cwd=place, what="what the app runs after an install", production=False)
        return
    runner.run(plan.install, cwd=folder, what="installing the packages", production=False)
    if plan.cpu and plan.manager == "npm":
        platforms.add_npms(folder, lockfile=Path(plan.lockfile), cpu=plan.cpu, install=runner.install)
    (zone / "stores" / cache.RECORD).unlink(missing_ok=True)  # its size is another now


def keep_install(output: BuildOutput, *, caches: Path, report: Report = quiet) -> None:
    """Take the installed packages out of the checkout, for the next build. Call it when the files were packaged."""
    with _best_effort("the installed packages were not kept", report):
        _keep_install(output.plan, folder=_install_folder(output.plan, app_dir=Path(output.app_dir)), caches=caches)


def _keep_install(plan: BuildPlan, *, folder: Path, caches: Path) -> None:
    if plan.install:
        key = installs.key(plan, folder=folder)
        installs.keep(cache.zone(caches, plan.environment) / "installs" / key, folder=folder)


def _keep_untouched(plan: BuildPlan, *, folder: Path, caches: Path, since: float) -> None:
    """Keep the packages of a build that failed, unless it has written into them: nobody knows then what they are."""
    for name in (".cache", ".vite", ".vite-temp", ".astro"):
        _remove(folder / "node_modules" / name)
    with suppress(OSError):
        if installs.unchanged_since(since, folder=folder):
            _keep_install(plan, folder=folder, caches=caches)


def _refuse_outside(*folders: Path, root: Path) -> None:
    for folder in folders:
        if not folder.resolve().is_relative_to(root.resolve()):
            raise BuildError(
                f"{folder} is a link that leads out of the repository",
                code="app-dir-outside",
                fix="commit the folder itself, not a link to it",
            )


def _left(plan: BuildPlan, *, app_dir: Path, root: Path, log: Path) -> Left:
    """What the build left; where deployd is not root, a build may shut its folders."""
    try:
        return outcome.find(plan, app_dir=app_dir, root=root, log=log)
    except PermissionError as error:
        raise BuildError(
            f"the build left {error.filename} so that it cannot be read",
            code="build-output-missing",
            fix="let the build leave its files and folders readable",
        ) from error


def _tell_changed_lock(plan: BuildPlan, report: Report) -> None:
    """A build that writes its lock file has installed something else than what is committed; the repository's stays."""
    path = Path(plan.lockfile)
    if plan.lockfile and (not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != plan.lockfile_sha256):
        report(
            Event.WARNING,
            what=f"the build changed {path.name}: the commit does not say all that is in this release; let no build "
            "script install packages",
            code="lockfile-changed",
        )


@contextmanager
def _best_effort(what: str, report: Report) -> Iterator[None]:
    """A good build stays good when there is no room for its caches."""
    try:
        yield
    except (OSError, CommandError) as error:
        report(Event.WARNING, what=f"{what}: {error}", code="cache-not-kept")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _install_folder(plan: BuildPlan, *, app_dir: Path) -> Path:
    return Path(plan.lockfile).parent if plan.lockfile else app_dir


class _Runner:
    """Runs the app's own commands under the build's limits, and turns a failure into its telling lines."""

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        ground: Ground,
        options: Build,
        on_line: Callable[[str], str],
        cancel: threading.Event | None,
        log: Path,
        report: Report,
        hook: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> None:
        self._hook, self._headers = hook, headers
        self._env, self._ground, self._options, self._on_line = env, ground, options, on_line
        self._cancel, self._log, self._report = cancel, log, report
        self._warned = False

    def install(self, argv: Sequence[str], cwd: Path) -> None:
        """Run an install that is not the app's own."""
        self.run(argv, cwd=cwd, what="installing the packages for the hosts' CPU", production=False)

    def run(self, argv: Sequence[str], *, cwd: Path, what: str, production: bool) -> None:
        told: list[str] = []

        def on_line(line: str) -> None:
            told.append(self._on_line(line)[: failing.LONGEST])  # a line may be a megabyte
            if len(told) > _REMEMBERED:  # the first ones tell where an error began, the last ones how it ended
                del told[_REMEMBERED // 2 : _REMEMBERED // 2 + _REMEMBERED // 4]

        contained = self._ground.argv(argv, cwd=cwd)
        words, warning = limits.limited(contained, memory=self._options.memory, cpus=self._options.cpus)
        if warning and not self._warned:
            self._warned = True  # once for the install and the build
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
        except CancelledError as error:  # not what its words begin with
            raise error.but(what=f"{what} was cancelled") from None
        except CommandError as error:
            late = error.code == "command-timeout"
            raise BuildError(
                f"{what} took longer than {self._options.timeout:g} s and was ended" if late else error.what,
                code="build-timeout" if late else error.code,
                details=failing.telling(told),
                fix=f"raise build.timeout in deployd.toml, or see why it hangs: {self._log}" if late else error.fix,
            ) from None
        if done.returncode != 0:
            raise BuildError(
                f"{what} failed: `{' '.join(argv)}` exited with {done.returncode}",
                code="install-failed" if not production else "build-failed",
                details=failing.telling(told),
                fix=failing.way_out(told, installing=not production, returncode=done.returncode, folder=cwd)
                or f"mend it and commit; the whole output is in {self._log}",
            )

    def _environment(self, *, production: bool) -> dict[str, str]:
        # with NODE_ENV=production an install leaves out what the build needs (TypeScript, say)
        env = {name: value for name, value in self._env.items() if name != "NODE_ENV"}
        # node-gyp would fetch the headers, or take those of the machine's own Node.js
        more = {"NODE_ENV": "production", **self._hook} if production else self._headers
        return {**env, **more}
