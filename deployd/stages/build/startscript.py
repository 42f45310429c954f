"""package.json's scripts -> Start: the file that Node.js runs in production, and with what."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.stages.build import manifest
from deployd.stages.build.scriptwords import Command, commands

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTS = ("start", "start:prod", "start:production", "prod", "serve", "server", "start:server", "preview")
_RUNNERS = {"node", "nodejs", "ts-node", "tsx", "nodemon", "bun", "pm2-runtime", "ts-node-esm", "node-dev"}
_WITH_VALUE = {
    "-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "-C", "--conditions", "-P",
    "--project", "--tsconfig", "-e", "--ext", "-w", "--watch-path", "-O", "--compiler-options", "-i", "--instances",
    "--title", "--icu-data-dir", "--env-file-if-exists", "-n", "--name", "--delay", "-d",
}  # fmt: skip
# Options that change nothing about how a built server runs, or that Node.js has as its own default now.
_HARMLESS = re.compile(
    r"--(?:enable-source-maps|(?:no-|trace-|disable-)(?:warning|deprecation)|experimental-(?:strip-types"
    r"|json-modules|modules|fetch|specifier-resolution=explicit)|inspect|watch|ext|name|exec-mode|instances|transpile-only)"
    r"|-[TinwPe](?:\s|$)"
)
_ENV_FILE = re.compile(r"--env-file(?:-if-exists)?[= ](.+)")
_ENDINGS = ("", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", "/index.js", "/index.mjs", "/index.cjs", "/index.ts")
_DEEP = 4
_IMPORT = r"""(?:require\(|from|import|import\()\s*["'`]"""
_PM2_PAIR = re.compile(r"""["']?([A-Za-z_]\w*)["']?\s*:\s*(?:["'`]([^"'`$\n]*)["'`]|([\w.-]+))\s*(?=,|$|\n|/)""")
_PM2_FILE = re.compile(r"""\bscript["']?\s*:\s*["'`]([^"'`]+)["'`]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start script's command that runs Node.js.

    `file` is written as in the script, relative to `folder` (below the app's). `words` follow it, `variables` stand
    before it, `preloads` are modules that are loaded first (`require X`, `import X`, `loader X`; those of NODE_OPTIONS
    too), and `lost` are options that only a command line can give. `env_files` are files of variables that it reads,
    `before` the commands that the script runs before the server.
    """

    script: str
    file: str
    folder: str = ""
    words: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    preloads: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether `node FILE` alone does the same."""
        return not (self.words or self.variables or self.preloads or self.folder)


def find(package: dict[str, Any]) -> Start | None:
    """The first command of the start scripts that runs a file with Node.js; None when none does."""
    return next(_started(package), None)


def entry(package: dict[str, Any], app_dir: Path) -> str | None:
    """The file that a start script gives to Node.js, relative to `app_dir` and with its ending; None when none does.

    A file that is not there (yet) is named as the script names it.
    """
    start = find(package)
    return file_of(start, app_dir) if start else None


def file_of(start: Start, app_dir: Path) -> str:
    """The file of a start, relative to `app_dir` and with its ending; the script's, where pm2's own file names it."""
    at = f"{start.folder}/" if start.folder else ""
    named = resolve(f"{at}{start.file.removeprefix('./')}", app_dir)
    path = app_dir / named
    if re.search(r"\.config\.[cm]?js$|\.json$", named) and path.is_file():
        told = _PM2_FILE.search(path.read_text(errors="replace"))
        if told:
            return resolve(f"{at}{told[1].removeprefix('./')}", app_dir)
    return named


def of_pm2(start: Start, app_dir: Path) -> dict[str, str]:
    """The variables that pm2's own file gives the first of its apps in production, as far as they are plain texts."""
    path = app_dir / start.folder / start.file
    if not re.search(r"\.config\.[cm]?js$|\.json$", start.file) or not path.is_file():
        return {}
    text = path.read_text(errors="replace")
    scripts = [match.start() for match in _PM2_FILE.finditer(text)]
    text = text[: scripts[1]] if len(scripts) > 1 else text
    found: dict[str, str] = {}
    for name in ("env", "env_production"):
        table = re.search(rf"""\b{name}["']?\s*:\s*\{{([^{{}}]*)\}}""", text)
        found |= {match[1]: match[2] or match[3] or "" for match in _PM2_PAIR.finditer(table[1] if table else "")}
    return found


def command(package: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """The words after the program `name` in a start script: `react-router-serve ./build/server/index.js`."""
    for one in _commands(package):
        if Path(one.words[0]).name == name:
            return one.words[1:]
    return None


def of_next(package: dict[str, Any]) -> Start | None:
    """How a start script starts Next.js's own server: `next start`, its file by Node.js, or a standalone server.js."""
    for one in _commands(package):
        names = [Path(word).name for word in one.words]
        if ("next", "start") in pairwise(names) or any("standalone" in Path(word).parts for word in one.words):
            given = _split(list(one.words[1:]))[0] if names[0] in _RUNNERS else []
            preloads, lost, env_files = _sorted([*_of_variable(one.variables), *given])
            return Start(
                script=one.script,
                file=one.words[-1],
                variables=one.variables,
                preloads=tuple(preloads),
                lost=tuple(lost),
                env_files=(*one.env_files, *env_files),
            )
    return None


def resolve(word: str, app_dir: Path) -> str:
    """A file as Node.js finds it: `dist/main` is `dist/main.js`, a folder its `main` or index."""
    plain = os.path.normpath(word or ".")
    folder = app_dir / plain
    if folder.is_dir() and (folder / "package.json").is_file():
        named = manifest.read(folder).get("main")
        if isinstance(named, str) and named:
            return resolve(f"{plain}/{named.removeprefix('./')}", app_dir)
    found = next((f"{plain}{ending}" for ending in _ENDINGS if (app_dir / f"{plain}{ending}").is_file()), plain)
    return found.removeprefix("./")


def loads(file: Path, *, package: str, deep: int = _DEEP) -> bool:
    """Whether a file, or one of its own that it imports, imports `package`."""
    return _loads(file, re.compile(rf"""{_IMPORT}{re.escape(package)}["'`/]"""), deep, set())


def _loads(file: Path, pattern: re.Pattern[str], deep: int, seen: set[Path]) -> bool:
    if file in seen or not file.is_file():
        return False
    seen.add(file)
    text = file.read_text(errors="replace")
    if pattern.search(text):
        return True
    if deep == 0:
        return False
    inner = re.findall(rf"""{_IMPORT}(\.{{1,2}}/[^"'`\n]+)["'`]""", text)
    return any(_loads(_imported(file.parent / word), pattern, deep - 1, seen) for word in inner)


def _imported(path: Path) -> Path:
    endings = (*_ENDINGS, ".tsx", ".jsx")
    found = next((Path(f"{path}{ending}") for ending in endings if Path(f"{path}{ending}").is_file()), path)
    if not found.is_file() and path.suffix in {".js", ".mjs"}:  # TypeScript's way to name a .ts file
        return path.with_suffix(path.suffix.replace("js", "ts"))
    return found


def _commands(package: dict[str, Any]) -> Iterator[Command]:
    scripts = manifest.scripts(package)
    rendered = (name for name in scripts if name.startswith("serve:ssr"))  # Angular's: serve:ssr:<project>
    for name in (*STARTS, *rendered):
        if name in scripts:
            yield from commands(name, scripts)


def _started(package: dict[str, Any]) -> Iterator[Start]:
    for one in _commands(package):
        program, rest = Path(one.words[0]).name, list(one.words[1:])
        if program in {"pm2", "pm2-runtime", "forever"} and rest[:1] == ["start"]:
            program, rest = "pm2-runtime", rest[1:]
        if program == "nodemon":
            program, rest = _executed(rest)
        if program not in _RUNNERS:
            continue
        given, file, words = _split(rest)
        if not file:
            continue
        preloads, lost, env_files = _sorted([*_of_variable(one.variables), *given])
        if program.startswith("pm2"):
            lost, words = [], []
        variables = dict(one.variables)
        if program == "tsx":
            preloads[:0] = [
                "require tsx/cjs",
                "import tsx",
            ]  # the second loads the first by a name that no tracing sees
        elif program.startswith("ts-node"):
            preloads.insert(0, "require ts-node/register/transpile-only")  # the types of packages stay behind
            project = next(
                (word.split(maxsplit=1)[1] for word in given if word.startswith(("-P ", "--project "))), None
            )
            variables |= {"TS_NODE_PROJECT": project} if project else {}
            lost = [word for word in lost if not word.startswith(("--project", "--esm"))]
        if any(option.startswith("loader ts-node/") for option in preloads):
            variables = {"TS_NODE_TRANSPILE_ONLY": "true"} | variables
        yield Start(
            script=one.script,
            file=file,
            folder=one.folder,
            words=tuple(words),
            variables=tuple(variables.items()),
            preloads=tuple(preloads),
            lost=tuple(lost),
            env_files=(*one.env_files, *env_files),
            before=one.before,
        )


def _executed(words: list[str]) -> tuple[str, list[str]]:
    """What nodemon runs: Node.js, or the program that `--exec` names, with its options."""
    at = next((n for n, word in enumerate(words[:-1]) if word in {"--exec", "-x"}), None)
    if at is None:
        return "nodemon", words
    program, *given = words[at + 1].split() or ["node"]
    return Path(program).name, [*given, *words[:at], *words[at + 2 :]]


def _of_variable(variables: tuple[tuple[str, str], ...]) -> list[str]:
    """The options in a script's NODE_OPTIONS; `$NODE_OPTIONS` in it is what the server has anyway."""
    text = dict(variables).get("NODE_OPTIONS", "")
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return _split([word for word in words if not word.startswith("$")])[0]


def _split(words: list[str]) -> tuple[list[str], str, list[str]]:
    """The options before the file, the file, and what follows it."""
    given: list[str] = []
    waiting = False
    for number, word in enumerate(words):
        if waiting:
            given[-1] += f" {word}"
            waiting = False
        elif word.startswith("-"):
            given.append(word)
            waiting = word in _WITH_VALUE
        elif word not in {"run", "watch"} and not word.startswith("$"):
            return given, word, words[number + 1 :]
    return given, "", []


def _sorted(given: list[str]) -> tuple[list[str], list[str], list[str]]:
    preloads, lost, env_files = [], [], []
    for option in given:
        name, _, value = option.replace("=", " ", 1).partition(" ")
        env_file = _ENV_FILE.fullmatch(option)
        if name in {"-r", "--require"} and value:
            preloads.append(f"require {value}")
        elif name == "--import" and value:
            preloads.append(f"import {value}")
        elif name in {"--loader", "--experimental-loader"} and value:
            preloads.append(f"loader {value}")
        elif env_file:
            env_files.append(env_file[1])
        elif not _HARMLESS.match(option):
            lost.append(option)
    return preloads, lost, env_files
