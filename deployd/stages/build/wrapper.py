"""A server's file and the words it needs -> a small file of deployd's that starts it so, as its main program.

Hosts run `node ENTRY` in the release's folder, with no words. A wrapper goes to the app's own folder, gives the
words, and hands over: for the app it is as if it had been started by its own script.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "deployd-start.cjs"
_TEXT = """\
// written by deployd when it built this app: starts it as its own start script does
process.chdir(__dirname);
process.argv.splice(1, process.argv.length, require("node:path").join(__dirname, {entry}){words});
require("node:module").runMain();
"""


def write(app_dir: Path, entry: str, *, words: Sequence[str] = ()) -> str:
    """Write the wrapper that starts `entry` (relative to `app_dir`) with `words`. Returns the wrapper's name."""
    more = "".join(f", {_js(word)}" for word in words)
    (app_dir / NAME).write_text(_TEXT.format(entry=_js(entry), words=more))
    return NAME


def _js(value: str) -> str:
    return json.dumps(value).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
