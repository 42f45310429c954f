"""This machine -> control machine: Ansible runs `playbooks/control.yml` here; the daemon is a service afterwards."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import paths as own_paths
from deployd import process
from deployd.errors import CommandError, NotAllowedError, UsageError
from deployd.hosts import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT = 900.0


def run(*, on_line: Callable[[str], None], check: bool = False, open_metadata: bool = False) -> Path:
    """Install the daemon as a service; returns the program that it runs. Raises CommandError with the failing task.

    `open_metadata` lets builds reach the address where a cloud gives out the machine's credentials; it stays open.
    """
    if os.geteuid() != 0:
        raise NotAllowedError("installing a service needs root", code="needs-root", live="unchanged", fix="use sudo")
    program = installed_program()
    with tempfile.TemporaryDirectory(prefix="dpl-") as name:
        folder = Path(name)
        inventory = folder / "inventory.json"
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": _system_python(),
            "deployd_program": str(program),
            "deployd_unit": str(own_paths.data_dir("systemd") / "deployd.service"),
            "deployd_metadata_open": open_metadata,
        }
        inventory.write_text(json.dumps({"all": {"hosts": {"this machine": variables}}}))
        playbook = own_paths.data_dir("playbooks") / "control.yml"
        argv = [*bootstrap.argv(inventory, check=check)[:-1], str(playbook)]
        lines: list[str] = []

        def seen(line: str) -> None:
            lines.append(line)
            on_line(line)

        try:
            process.run(argv, cwd=folder, env=bootstrap.environment(folder), timeout=_TIMEOUT, on_line=seen)
        except CommandError as error:
            told = [line for line in lines if line.startswith(("fatal:", "failed:"))]
            raise CommandError(
                "the daemon could not be installed",
                code="install-failed",
                live="apps do not depend on the daemon",
                details="\n".join(told) or error.details,
                fix="correct what Ansible names, then run it again; -v shows its whole output",
            ) from error
    return program


def installed_program() -> Path:
    """The `deployd` beside this Python, if every user may run it; raises UsageError."""
    program = Path(sys.executable).parent / "deployd"
    closed = [folder for folder in (program, *program.resolve().parents) if not _open_to_all(folder)]
    if not program.exists() or closed:
        why = f"{closed[-1]} is closed to others" if closed else f"there is no {program}"
        raise UsageError(
            f"the daemon's user could not run {program}: {why}",
            code="install-place",
            live="unchanged",
            fix="install deployd where everybody can read it: python3 -m venv /opt/deployd, and pip install it there",
        )
    return program


def _open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o001)
    except OSError:
        return False


def _system_python() -> str:
    """The one that has the bindings of apt."""
    return "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
