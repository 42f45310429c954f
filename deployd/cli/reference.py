"""The reference pages, made from the code; `python -m deployd.cli.reference` writes them, `--check` finds stale ones.

Commands come from the table and their own help, keys from appkeys.py, settings from settingsmodel.py, exit codes from
the tree of errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import appkeys, errors
from deployd.cli import annotated, commands
from deployd.cli.verbs import SHARED_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd.appkeys import Key, Section

_MADE = "<!-- Made by `python -m deployd.cli.reference`; a test fails when it is stale. -->\n"
_APP_INTRO = """\
One file in the app's folder. `deployd init` writes one, `deployd docs` prints it annotated, `deployd config` says what
is in force and where each value comes from. Unknown keys are errors; keys that begin with `x-` are yours.
"""
_SETTINGS_INTRO = """\
Read from `/etc/deployd/deployd.toml`, or the file that `DEPLOYD_CONFIG` names. The variable wins over the file, and an
option of the command line (`--state-dir`, `--timeout`) over both.
"""
_EXIT_INTRO = """\
Every error says what happened, on which host, what is live now, and what to do. With `--json` it is one document on
stderr: `{"error": {"code", "what", "host", "live", "details", "fix", "docs"}}`. Its `code` is listed in
[errors.md](../errors.md).
"""
_EXIT_OUTRO = """
`deployd exec` passes the exit code of the command on. `deployd status` exits with 3 when the hosts differ, and with 6
when one cannot be asked.
"""
EXIT_CODES = {
    0: "done: live (or prepared, or waiting, as asked)",
    1: "failed; the old release is live everywhere",
    2: "wrong usage or configuration; nothing was tried",
    3: "partly live: needs a person",
    4: "busy: another rollout holds this app and environment",
    5: "not allowed",
    6: "a host could not be reached; nothing changed",
    7: "superseded by a newer one",
    130: "interrupted (Ctrl-C) and cleanly cancelled",
    141: "whoever read the output stopped reading",
    143: "terminated (SIGTERM) and cleanly cancelled",
}


def pages() -> dict[str, str]:
    """Every generated file: its path in the repository, and its text."""
    return {
        "docs/reference/cli.md": cli_page(),
        "docs/reference/app.md": app_page(),
        "docs/reference/settings.md": settings_page(),
        "docs/reference/exit-codes.md": exit_page(),
        "etc/app/deployd.toml": annotated.app_text(),
        "etc/daemon/deployd.toml": annotated.daemon_text(),
    }


def cli_page() -> str:
    """docs/reference/cli.md."""
    parts = [f"# The command line\n\n{_MADE}", f"```text\n{commands.root_help().rstrip()}\n```\n"]
    for title, section in commands.SECTIONS.items():
        parts.append(f"## {title}\n")
        for name, entry in section.items():
            if not entry.hidden and (Path(__file__).parent / f"{entry.module}.py").is_file():
                parts += list(_command(entry.load(name), f"deployd {name}"))
    return "\n".join(parts)


def app_page() -> str:
    """docs/reference/app.md."""
    parts = [
        f"# deployd.toml of an app\n\n{_MADE}",
        _APP_INTRO,
        _key_table([(appkeys.NAME, "required")]),
    ]
    for section in appkeys.SECTIONS:
        parts.append(f"## [{section.name}]\n\n{section.help}\n")
        parts.append(_key_table([(key, _default(section, key)) for key in section.keys]))
    site = [(key, _default(part, key)) for part in (appkeys.SITE, appkeys.CONSENT) for key in part.keys]
    parts.append(f"## [{appkeys.SITE.name}]\n\n{appkeys.SITE.help}\n")
    parts.append(_key_table([(appkeys.BRANCH, "none"), (appkeys.FLEET, "none"), *site]))
    return "\n".join(parts)


def settings_page() -> str:
    """docs/reference/settings.md."""
    from deployd.settingsmodel import Settings

    rows = [
        f"| `{name}` | `DEPLOYD_{name.upper()}` | {field.description} | `{(field.examples or [''])[0]}` |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            f"# Settings of this machine's deployd\n\n{_MADE}",
            _SETTINGS_INTRO,
            "| setting | variable | meaning | example |\n| --- | --- | --- | --- |",
            *rows,
            "| | `DEPLOYD_CONFIG` | The configuration file. | `/srv/deployd.toml` |",
            "| | `NO_COLOR` | Any value: no colours. | `1` |\n",
        ]
    )


def exit_page() -> str:
    """docs/reference/exit-codes.md."""
    rows = []
    for code, text in EXIT_CODES.items():
        names = ", ".join(f"`{name}`" for name in sorted(_classes_with(code)))
        rows.append(f"| **{code}** | {text} | {names} |")
    return "\n".join(
        [
            f"# Exit codes\n\n{_MADE}",
            _EXIT_INTRO,
            "| code | meaning | errors |\n| --- | --- | --- |",
            *rows,
            _EXIT_OUTRO,
        ]
    )


def _classes_with(code: int) -> Iterator[str]:
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.DeploydError) and value.exit_code == code:
            yield name


def _command(command: Any, path: str) -> Iterator[str]:
    import typer

    context = typer.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    yield f"### {path}\n\n```text\n{_own_help(command, context)}\n```\n"
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(child, f"{path} {name}")


def _own_help(command: Any, context: Any) -> str:
    """The command's help without the options that work everywhere: those stand at the page's top."""
    shown = command.params
    command.params = [param for param in shown if param.name not in SHARED_NAMES]
    try:
        text: str = command.get_help(context)
    finally:
        command.params = shown
    lines = [line.rstrip() for line in text.splitlines() if "--help" not in line and line.strip() != "Everywhere:"]
    return "\n".join(line for number, line in enumerate(lines) if line or (number and lines[number - 1])).strip()


def _default(section: Section, key: Key) -> str:
    value = section.default(key)
    return "none" if value is None or value == () else f"`{key.kind.write(value)}`"


def _key_table(rows: list[tuple[Key, str]]) -> str:
    lines = ["| key | meaning | should be | default | example |", "| --- | --- | --- | --- | --- |"]
    for key, default in rows:
        cells = (f"`{key.name}`", key.help, key.kind.expected, default, f"`{key.example}`")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages, or with `--check` say which are stale."""
    top = Path(__file__).parents[2]
    stale = [name for name, text in pages().items() if not (top / name).is_file() or (top / name).read_text() != text]
    if "--check" in sys.argv:
        sys.stderr.write("".join(f"stale: {name}\n" for name in stale))
        return 1 if stale else 0
    for name in stale:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(pages()[name])
        sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
