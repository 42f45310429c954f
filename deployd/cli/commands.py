"""The table of commands: name -> where it is and one line of help; out comes the page that `deployd --help` prints.

Nothing is imported for that page: not the commands, not even typer.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command: `module` and `attribute` name a `Declared` or a `Noun`."""

    module: str
    attribute: str
    help: str
    hidden: bool = False

    def load(self, name: str) -> Any:
        """Import the module and build the click command."""
        return getattr(import_module(f"deployd.cli.{self.module}"), self.attribute).build(name)


def _entry(where: str, text: str, *, hidden: bool = False) -> Entry:
    module, _, attribute = where.partition(":")
    return Entry(module=module, attribute=attribute, help=text, hidden=hidden)


SECTIONS: dict[str, dict[str, Entry]] = {
    "Start": {
        "init": _entry("init:init", "Detect the framework and write a commented deployd.toml"),
        "host": _entry("host:hosts", "Servers: add, list, check, bootstrap, remove, ssh"),
        "domain": _entry("domain:domains", "The app's names: list, check, renew certificates"),
        "env": _entry("env:variables", "Variables of an environment: set, import, pull, list, unset"),
        "lab": _entry("lab:lab", "Disposable servers on this machine, to try deployd on"),
    },
    "Release": {
        "release": _entry("release:release", "Bring a commit live"),
        "canary": _entry("canary:canary", "Give some visitors a prepared release"),
        "rollback": _entry("rollback:rollback", "Go back to the last good release, or to a named one"),
        "promote": _entry("promote:promote", "Bring a release live in another environment"),
        "resume": _entry("rollouts:resume", "Finish what was interrupted"),
        "cancel": _entry("rollouts:cancel", "Cancel a running rollout"),
        "unlock": _entry("rollouts:unlock", "Take the lock from a rollout that is gone"),
        "pin": _entry("marks:pin", "Stop automatic releases of an environment"),
        "unpin": _entry("marks:unpin", "Let automatic releases go on"),
        "mark": _entry("marks:marks", "Mark a release good or bad"),
        "schedule": _entry("schedule:schedules", "Releases and rollbacks that happen by themselves"),
        "freeze": _entry("freeze:freeze", "Stop releases of an environment for a time"),
        "unfreeze": _entry("freeze:unfreeze", "End a freeze"),
        "approve": _entry("approve:approve", "Say yes to a release that is prepared and waits"),
        "reject": _entry("approve:reject", "Say no to it"),
        "confirm": _entry("approve:confirm", "Keep a release that goes back by itself otherwise"),
        "deploy": _entry("release:deploy", "See release", hidden=True),
    },
    "Look": {
        "status": _entry("status:status", "What is live where"),
        "releases": _entry("releases:releases", "Releases, newest first, with their marks"),
        "rollouts": _entry("rollouts:rollouts", "What was done, by whom, and how it ended"),
        "watch": _entry("watch:watch", "Watch a running rollout, whoever runs it"),
        "approvals": _entry("approve:approvals", "What waits for an approval"),
        "show": _entry("releases:show", "Everything about one release"),
        "diff": _entry("releases:diff", "What differs between two releases"),
        "logs": _entry("logs:logs", "The servers' logs, all hosts, merged by time"),
        "traffic": _entry("traffic:traffic", "Requests, errors and times by release, route and host; -f live"),
        "open": _entry("open:open_", "Open the app, or a release at its own address, in a browser"),
    },
    "Daemon": {
        "serve": _entry("serve:serve", "Run the daemon: pushes, schedules, an API"),
        "install": _entry("serve:install", "Make the daemon a service of this machine"),
        "adopt": _entry("adopt:adopt", "Learn from the hosts what runs there, for a new state folder"),
        "app": _entry("apps:apps", "Apps that the daemon releases by itself: add, list, remove"),
        "hook": _entry("hook:hooks", "Webhooks: show, rotate, deliveries"),
        "forge": _entry("forge:forges", "Forges' tokens, for commit statuses and comments: set, list, remove"),
        "preview": _entry(
            "preview:previews", "Previews of pull requests: list, approve, remove; their password and links"
        ),
        "key": _entry("key:keys", "SSH keys that may push here: add, list, remove"),
        "notify": _entry("notify:targets", "Who is told: add, list, remove, test"),
        "git-receive": _entry("gitreceive:git_receive", "Take a push over SSH", hidden=True),
        "token": _entry("tokens:tokens", "Tokens for the API: create, list, revoke"),
        "login": _entry("serve:login", "Let every command go to a daemon elsewhere"),
        "logout": _entry("serve:logout", "Forget that daemon"),
        "audit": _entry("tokens:audit", "Who did what, when, from where"),
    },
    "Servers": {
        "exec": _entry("exec:exec_", "Run a command in the live release's environment"),
        "restart": _entry("upkeep:restart", "Restart the live release, one process at a time"),
        "maintenance": _entry("maintenance:maintenance", "Turn visitors away for a time, but for some"),
        "prune": _entry("upkeep:prune", "Remove releases that are kept no longer"),
        "destroy": _entry("destroy:destroy", "Take the app off its hosts: what goes, what stays"),
        "doctor": _entry("host:doctor", "Check this machine and the environment's hosts"),
    },
    "Stages alone": {
        "build": _entry("stages:build", "Run the app's build here"),
        "trace": _entry("stages:trace", "List the files that the server needs, and why"),
        "package": _entry("stages:package", "Make an artifact file"),
        "cache": _entry("cache:caches", "What builds keep for the next ones: list, clear, export, import"),
        "verify": _entry("verify:verify", "Run the artifact alone, and name what is missing in it"),
    },
    "Help": {
        "database": _entry("database:databases", "Which database is in force; from SQLite to PostgreSQL"),
        "config": _entry("configuration:config", "What is in force, and where each value comes from"),
        "docs": _entry("configuration:docs", "Print a section of the annotated configuration"),
        "completion": _entry("completion:completion", "Print the completion script of a shell"),
        "version": _entry("configuration:version", "Print the version"),
    },
}
COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


_SHARED = """
Everywhere, before or after the command:
  -C, --app-dir DIR       the app's folder (default: the nearest deployd.toml, upwards)
  -e, --environment NAME  the environment (default: production)
      --host NAME         only this host; repeatable; web* works
  -y, --yes               answer every question with yes
  -q, --quiet             say only what matters
  -v, --verbose           say more
      --json              JSON on stdout, and nothing else there
      --state-dir DIR     where deployd keeps what it knows
"""


def visible() -> dict[str, str]:
    """The commands that are shown, with their help."""
    return {name: entry.help for name, entry in COMMANDS.items() if not entry.hidden}


def root_help(*, heading: Callable[[str], str] = str, name: Callable[[str], str] = str) -> str:
    """The page of `deployd --help`; `heading` and `name` may colour."""
    width = max(len(command) for command in COMMANDS) + 2
    parts = [
        f"{heading('deployd')}: from a git commit to atomic, immutable releases on bare Linux servers.\n",
        f"{heading('Usage:')} deployd COMMAND [OPTIONS]\n",
    ]
    for title, section in SECTIONS.items():
        lines = [
            f"  {name(command.ljust(width))}{entry.help}" for command, entry in section.items() if not entry.hidden
        ]
        parts.append("\n".join([heading(f"{title}:"), *lines]) + "\n")
    first, _, rest = _SHARED.strip().partition("\n")
    parts.append(f"{heading(first)}\n{rest}\n")
    parts.append(f"{heading('Example:')}\n  $ deployd release --plan\n\nMore: deployd COMMAND --help, deployd docs\n")
    return "\n".join(parts)
