"""package.json's scripts -> the file that Node.js runs in production, as the app's own start script says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.stages.build import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTS = ("start", "start:prod", "start:production", "prod", "serve", "server", "start:server")
_RUNNERS = {"node", "nodejs", "ts-node", "tsx", "nodemon", "bun", "pm2-runtime", "ts-node-esm", "node-dev"}
_BEFORE = {"cross-env", "env", "exec", "dotenv", "dotenvx", "--", "npx", "time", "run"}
_WITH_VALUE = {
    "-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "-C", "--conditions", "-P",
    "--project", "--tsconfig", "-e", "--ext", "-w", "--watch-path", "-O", "--compiler-options", "-i", "--instances",
}  # fmt: skip
_ENDINGS = ("", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", "/index.js", "/index.mjs", "/index.cjs", "/index.ts")
_DEEP = 4
_IMPORT = r"""(?:require\(|from|import|import\()\s*["'`]"""


def entry(package: dict[str, Any], app_dir: Path) -> str | None:
    """The file that a start script gives to Node.js, relative to `app_dir` and with its ending; None when none does.

    A file that is not there (yet) is named as the script names it.
    """
    return next((resolve(word, app_dir) for word, _ in _started(package)), None)


def flags(package: dict[str, Any]) -> tuple[str, ...]:
    """The options of Node.js's own in the start script: deployd starts the server without them."""
    return next((flags for _, flags in _started(package)), ())


def command(package: dict[str, Any], name: str) -> tuple[str, ...] | None:
    """The words after the program `name` in a start script: `react-router-serve ./build/server/index.js`."""
    for words in _commands(package):
        if Path(words[0]).name == name:
            return tuple(words[1:])
    return None


def resolve(word: str, app_dir: Path) -> str:
    """A file as Node.js finds it: `dist/main` is `dist/main.js`, a folder its `main` or index."""
    plain = word.removeprefix("./").rstrip("/") or "."
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


def _started(package: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for words in _commands(package):
        program, rest = Path(words[0]).name, words[1:]
        if program == "pm2" and rest[:1] == ["start"]:
            program, rest = "pm2-runtime", rest[1:]
        if program not in _RUNNERS:
            continue
        found = _first_file(rest)
        if found is not None:
            yield found


def _first_file(words: list[str]) -> tuple[str, tuple[str, ...]] | None:
    given: list[str] = []
    waiting = False
    for word in words:
        if waiting:
            given[-1] += f" {word}"
            waiting = False
        elif word.startswith("-"):
            given.append(word)
            waiting = word in _WITH_VALUE
        elif word not in {"run", "watch"}:
            return word, tuple(given)
    return None


def _commands(package: dict[str, Any]) -> Iterator[list[str]]:
    """The plain commands of the start scripts, in the order in which they count; `npm run x` is followed."""
    scripts = manifest.scripts(package)
    for name in STARTS:
        if name in scripts:
            yield from _plain(scripts[name], scripts, deep=_DEEP)


def _plain(text: str, scripts: dict[str, str], *, deep: int) -> Iterator[list[str]]:
    try:
        words = list(shlex.shlex(text, posix=True, punctuation_chars="&|;"))
        words = _shell_words(text) if words else []
    except ValueError:
        return
    command: list[str] = []
    parts: list[list[str]] = []
    for word in words:
        if word and set(word) <= set("&|;"):
            parts.append(command)
            command = []
        else:
            command.append(word)
    for part in reversed([*parts, command]):  # what runs on is last
        bare = _bare(part)
        if not bare:
            continue
        named = _script_of(bare)
        if named in scripts and deep:
            yield from _plain(scripts[named], scripts, deep=deep - 1)
        else:
            yield bare


def _shell_words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    return list(lexer)


def _bare(words: list[str]) -> list[str]:
    """A command without what stands before it: variables, cross-env, dotenv and its options."""
    rest = list(words)
    while rest:
        first = rest[0]
        if re.fullmatch(r"[A-Za-z_]\w*=.*", first) or first in _BEFORE:
            rest.pop(0)
            while first in {"dotenv", "dotenvx"} and rest and rest[0].startswith("-") and rest[0] != "--":
                option = rest.pop(0)
                if option in {"-e", "-f", "-c"} and rest and not rest[0].startswith("-"):
                    rest.pop(0)
        else:
            break
    return rest


def _script_of(words: list[str]) -> str | None:
    if words[0] not in {"npm", "pnpm", "yarn", "bun"}:
        return None
    rest = [word for word in words[1:] if not word.startswith("-")]
    if rest[:1] in (["run"], ["run-script"]):
        rest = rest[1:]
    elif words[0] == "bun":
        return None  # `bun server.js` runs a file
    return rest[0] if rest else None
