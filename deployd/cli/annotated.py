"""The annotated configuration as text: the tables of keys come in, commented TOML goes out.

For `deployd init`, `deployd docs`, and the two files in etc/, which a test compares with what is made here.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from deployd import appkeys, appkinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.appkeys import Key, Section

_WIDTH = 100
_APP_HEAD = "What deployd does with this app. Every line that begins with `# ` and a key shows its default."
_DAEMON_HEAD = (
    "The settings of this machine's deployd, read from /etc/deployd/deployd.toml or the file that DEPLOYD_CONFIG names."
)


def comment(text: str) -> str:
    """`text` as comment lines."""
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, _WIDTH))


def key_lines(key: Key, section: Section | None, *, value: str | None = None) -> str:
    """One key with its meaning: live with `value`, otherwise commented out with its default (or its example)."""
    if value is not None:
        return f"{comment(key.help)}\n{key.name} = {value}"
    default = section.default(key) if section else None
    shown = key.example if default is None or default == () else key.kind.write(default)
    return f"{comment(key.help)}\n# {key.name} = {shown}"


def section_text(section: Section, *, values: Mapping[str, str] | None = None) -> str:
    """One table, its keys commented out but for those with a value."""
    keys = "\n".join(key_lines(key, section, value=(values or {}).get(key.name)) for key in section.keys)
    return f"{comment(section.help)}\n[{section.name}]\n{keys}"


def environment_text(*, name: str, branch: str | None, hosts: Sequence[str]) -> str:
    """The table of one environment."""
    lines = [
        comment(appkeys.SITE.help),
        f"[environments.{name}]",
        key_lines(appkeys.BRANCH, None, value=appkeys.BRANCH.kind.write(branch) if branch else None),
        key_lines(appkeys.FLEET, None, value=appkeys.FLEET.kind.write(tuple(hosts))),
        *(key_lines(key, part) for part in (appkeys.SITE, appkeys.CONSENT) for key in part.keys),
    ]
    return "\n".join(lines)


def app_text(
    *,
    name: str = "shop",
    environment: str = "production",
    branch: str | None = "main",
    hosts: Sequence[str] = ("web1", "web2"),
    framework: str | None = None,
    health: str | None = None,
    answers: Sequence[int] | None = None,
    before: str | None = None,
) -> str:
    """A whole `deployd.toml` of an app; `health` is the page that the probe is to ask for, `answers` what counts.

    `before` is the command that runs once before a release starts.
    """
    probe = {"path": appkinds.PROBE_PATH.write(health)} if health else {}
    probe |= {"status": appkinds.STATUSES.write(tuple(answers))} if answers else {}
    given = {"probe": probe, "rollout": {"before": appkinds.TEXT.write(before)} if before else {}}
    head = comment(_APP_HEAD) + (f"\n# Made with {framework}." if framework else "")
    parts = [
        head,
        key_lines(appkeys.NAME, None, value=appkeys.NAME.kind.write(name)),
        *(section_text(section, values=given.get(section.name)) for section in appkeys.SECTIONS),
        environment_text(name=environment, branch=branch, hosts=hosts),
    ]
    return "\n\n".join(parts) + "\n"


def daemon_text() -> str:
    """A whole configuration file of the daemon, every setting commented out."""
    from deployd.settingsmodel import Settings

    parts = [comment(_DAEMON_HEAD + " The variable DEPLOYD_<NAME> wins over a line here.")]
    for name, field in Settings.model_fields.items():
        example = (field.examples or [""])[0]
        parts.append(f"{comment(field.description or '')}\n# {name} = {example}")
    return "\n\n".join(parts) + "\n"


def docs_text(section: str | None) -> str | None:
    """What `deployd docs [SECTION]` prints; None for a section that does not exist."""
    if section is None or section == "app":
        return app_text()
    if section in {"daemon", "settings"}:
        return daemon_text()
    if section == "environments":
        return environment_text(name="production", branch="main", hosts=("web1", "web2")) + "\n"
    return next((section_text(known) + "\n" for known in appkeys.SECTIONS if known.name == section), None)


DOCS_SECTIONS = ("app", *(section.name for section in appkeys.SECTIONS), "environments", "daemon")
