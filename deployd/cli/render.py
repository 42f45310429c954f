"""What is drawn: lines, tables, documents and errors come in; plain or coloured text, or JSON, goes out.

No rich here: a table is aligned text, so that `deployd status` loads nothing for it. live.py draws what moves.
"""

from __future__ import annotations

import getpass
import io
import json
import os
import re
import shutil
import sys
import unicodedata
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

from deployd.errors import HostError, PartlyLiveError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.errors import DeploydError

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
_HOST_STYLES = ("cyan", "magenta", "yellow", "blue", "green")
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SGR = re.compile(r"\x1b\[[0-9;]*m")


def clean(text: str) -> str:
    """Text from elsewhere without control characters and terminal sequences, so that it cannot draw on the screen."""
    return _CONTROL.sub("", text)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal; colours take none."""
    plain = _SGR.sub("", text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in plain
    )


def align(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset(), gap: str = "  ") -> list[str]:
    """Rows of cells as lines of aligned columns; the last column is not padded."""
    if not rows:
        return []
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            space = " " * (widths[column] - width(cell))
            cells.append(space + cell if column in right else cell + space)
        lines.append(gap.join(cells).rstrip())
    return lines


def _colours(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Nowhere(io.StringIO):
    """What nobody reads."""

    def write(self, text: str, /) -> int:
        return len(text)


class Screen:
    """Where a command speaks: results on stdout, what it says about its work and errors on stderr."""

    def __init__(
        self, *, stdin: TextIO | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None
    ) -> None:
        self.stdin = stdin or sys.stdin
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.json = False
        self.quiet = False
        self.verbose = False
        self._paints = {self.stdout: _colours(self.stdout), self.stderr: _colours(self.stderr)}

    def configure(self, *, json: bool, quiet: bool, verbose: bool) -> None:
        """Take what `--json`, `--quiet` and `--verbose` ask for."""
        self.json, self.quiet, self.verbose = json, quiet, verbose

    def mute(self) -> None:
        """Nobody reads stdout any more, or it cannot be written: what else is said there goes nowhere."""
        self.stdout = _Nowhere()

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at stdout."""
        return self.stdout.isatty()

    @property
    def can_ask(self) -> bool:
        """Whether somebody can answer a question: stdin and stderr are a terminal, and JSON was not asked for."""
        return self.stdin.isatty() and self.stderr.isatty() and not self.json

    def paint(self, text: str, *styles: str, on: TextIO | None = None) -> str:
        """`text` in colour, where stdout (or `on`) takes colours."""
        if not text or not self._paints.get(on or self.stdout, False):
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def host(self, name: str, among: Sequence[str]) -> str:
        """A host's name in a colour of its own."""
        index = list(among).index(name) if name in among else 0
        return self.paint(name, _HOST_STYLES[index % len(_HOST_STYLES)])

    def line(self, text: str = "") -> None:
        """A result, on stdout; nothing with `--json`."""
        if not self.json:
            self._write(self.stdout, text)

    def note(self, text: str = "") -> None:
        """Something about the work, on stderr; nothing with `--quiet` or `--json`."""
        if not (self.quiet or self.json):
            self._write(self.stderr, text)

    def done(self, text: str) -> None:
        """What was done, one line with a tick, on stdout; nothing with `--quiet`."""
        if not self.quiet:
            self.line(f"{self.paint('✓', 'green')} {text}")

    def warn(self, text: str) -> None:
        """A warning, on stderr, also with `--quiet`; with `--json` it is left to the document."""
        if not self.json:
            self._write(self.stderr, f"{self.paint('!', 'yellow', 'bold', on=self.stderr)} {text}")

    def next(self, *commands: str) -> None:
        """What to do next: commands to copy, on stderr."""
        if commands and not (self.quiet or self.json):
            lines = "\n".join(f"  {self.paint(command, 'cyan', on=self.stderr)}" for command in commands)
            self._write(self.stderr, f"\n{self.paint('next', 'dim', on=self.stderr)}\n{lines}")

    def document(self, value: Any) -> None:
        """One JSON document on stdout."""
        self._write(self.stdout, json.dumps(value, indent=2, ensure_ascii=False, default=str))

    def event(self, value: Mapping[str, Any]) -> None:
        """One JSON line on stdout."""
        self._write(self.stdout, json.dumps(value, ensure_ascii=False, default=str))

    def result(self, value: Any, text: str | None = None) -> None:
        """The outcome of a small command: the document with `--json`, otherwise the sentence."""
        if self.json:
            self.document(value)
        elif text:
            self.done(text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Rows under a head, on stdout; the last column is cut to the terminal's width."""
        head = [self.paint(column, "dim") for column in columns]
        numbers = frozenset(columns.index(name) for name in right)
        for text in align([head, *rows], right=numbers):
            self.line(self._fit(text))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and values, aligned, on stdout; empty values are left out."""
        for text in align([(self.paint(name, "dim"), value) for name, value in pairs if value]):
            self.line(text)

    def error(self, error: DeploydError) -> None:
        """An error with all its fields; one JSON document on stderr with `--json`."""
        if self.json:
            self._write(self.stderr, json.dumps({"error": error.to_json()}, ensure_ascii=False))
            return
        self._write(self.stderr, "\n".join(self._error_lines(error)))

    def ask(self, prompt: str) -> str:
        """Ask on stderr and read one line."""
        self.stderr.write(prompt)
        self.stderr.flush()
        return self.stdin.readline()

    def ask_hidden(self, prompt: str) -> str:
        """Ask for something that must not be seen."""
        return getpass.getpass(prompt, stream=self.stderr)

    def _error_lines(self, error: DeploydError) -> list[str]:
        def dim(text: str) -> str:
            return self.paint(text, "dim", on=self.stderr)

        cross = self.paint("✗", "red", "bold", on=self.stderr)
        lines = [f"{cross} {self.paint(clean(error.what), 'bold', on=self.stderr)}"]
        live = error.live or (
            "not known; see `deployd status`" if isinstance(error, HostError | PartlyLiveError) else None
        )
        pairs = [("host", error.host), ("live", live), ("fix", error.fix)]
        lines += [f"  {dim(name.ljust(6))}{clean(value)}" for name, value in pairs[:2] if value]
        if error.details:
            lines += [f"  {dim('│')} {clean(text)}" for text in error.details.splitlines()]
        lines.append(f"  {dim('fix'.ljust(6))}{clean(error.fix)}")
        lines.append(f"  {dim('code'.ljust(6))}{dim(error.code)}")
        return lines

    def _fit(self, text: str) -> str:
        if not self.is_terminal:
            return text
        columns = shutil.get_terminal_size().columns
        if width(text) <= columns:
            return text
        plain = _SGR.sub("", text)
        return text if plain != text else plain[: columns - 1] + "…"

    def _write(self, stream: TextIO, text: str) -> None:
        # A name that is not UTF-8 comes as surrogates; a terminal gets it escaped instead of a traceback.
        with suppress(OSError) if stream is self.stderr else nullcontext():  # what is said aside stops nothing
            stream.write(text.encode(errors="backslashreplace").decode() + "\n")
            stream.flush()
