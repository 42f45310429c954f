"""A server's file and how its script starts it -> a small file of deployd's that starts it so, as its main program.

Hosts run `node ENTRY` in the release's folder, with no words. A wrapper goes to the app's own folder, sets the script's
variables, loads what comes first, gives the words, and hands over: for the app it is as if its own script had run.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAME = "deployd-start.cjs"
_HEAD = "// written by deployd when it built this app: starts it as its own start script does\n"
_JOIN = 'require("node:path").join(__dirname, {})'
# the function is never called: tracing sees by it which module that is
_LOADER = """require("node:module").register({0}, require("node:url").pathToFileURL(__filename));
void (() => import({0}));
"""
_EXPAND = r"""const expand = (text) =>
  text.replace(/\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})/g, (_, a, b, or) => process.env[a || b] || or || "");
"""


def write(
    app_dir: Path,
    entry: str,
    *,
    words: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    preloads: Sequence[str] = (),
    folder: str = "",
) -> str:
    """Write the wrapper that starts `entry` (relative to `app_dir`) with `words`; returns the wrapper's name.

    `variables` hold where the environment says nothing else. `preloads` are `require X`, `import X` and `loader X`, as
    Node.js's options of these names: what the server forks gets these. `folder`, below the app's, is where it works.
    """
    texts = [*words, *(variables or {}).values()]
    required = [_place(one.removeprefix("require "), folder) for one in preloads if one.startswith("require ")]
    imported = [_place(one.removeprefix("import "), folder) for one in preloads if one.startswith("import ")]
    loaders = [_place(one.removeprefix("loader "), folder) for one in preloads if one.startswith("loader ")]
    more = "".join(f", {_text(word)}" for word in words)
    lines = [
        f"process.chdir({_JOIN.format(_js(folder)) if folder else '__dirname'});\n",
        _EXPAND if any("$" in text for text in texts) else "",
        *(f"process.env[{_js(name)}] ??= {_text(value)};\n" for name, value in (variables or {}).items()),
        *(
            f"process.execArgv.push({_js(f'--{kind}')}, {_js(module)});\n"
            for kind, _, module in (one.partition(" ") for one in preloads)
        ),
        f"process.argv.splice(1, process.argv.length, {_JOIN.format(_js(entry))}{more});\n",
        *(_LOADER.format(_js(one)) for one in loaders),
        *(f"require({_js(one)});\n" for one in required),
    ]
    run = 'require("node:module").runMain()'
    if imported:
        waiting = "".join(f"  await import({_js(one)});\n" for one in imported)
        run = f"(async () => {{\n{waiting}  {run};\n}})()"
    _put(app_dir / NAME, f"{_HEAD}{''.join(lines)}{run};\n")
    return NAME


def _put(path: Path, text: str) -> None:
    """Write a new file that all may read, as tracing in the sandbox does; a link that was left is not followed."""
    path.unlink(missing_ok=True)
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(made, "w", encoding="utf-8") as file:
        os.fchmod(made, 0o644)
        file.write(text)


def _place(module: str, folder: str) -> str:
    if not module.startswith("."):
        return module
    return f"./{folder}/{module}" if folder else module


def _text(value: str) -> str:
    return f"expand({_js(value)})" if "$" in value else _js(value)


def _js(value: str) -> str:
    return json.dumps(value).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
