"""Bare server -> host: `Host`s come in, Ansible runs the playbook as their admin user, and each helper's facts go out.

Ansible is this installation's own, with no configuration of the person's, and only the pinned host keys.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import paths as own_paths
from deployd import process
from deployd.errors import CommandError, HostError
from deployd.hosts import admin, helperfiles, keys, webserver
from deployd.hosts.pool import Pool

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from deployd.domain.host import Facts, Host
    from deployd.domain.ids import HostName
    from deployd.hosts.admin import Bare
    from deployd.hosts.webserver import WebServer
    from deployd.paths import StatePaths

_TIMEOUT = 1800.0
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*)\]")
_FULL = "No space left on device"
_FATAL = re.compile(r"^(?:fatal|failed): \[([^\] ]+)[^\]]*\](?:.*?): ([A-Z]+)! => (.*)$")


def run(
    hosts: Sequence[Host],
    *,
    paths: StatePaths | None = None,
    public_key: str | None = None,
    on_line: Callable[[str], None],
    on_taken: Callable[[HostName], None] | None = None,
    cancel: threading.Event | None = None,
    check: bool = False,
) -> dict[HostName, Facts]:
    """Make servers hosts; a second run changes nothing. Raises HostError `bootstrap-failed` with the failing task.

    They let in the key of `paths`; or `public_key`, whose owner must then prove it. `check` only says what would
    change. `on_line` gets Ansible's output, `on_taken` each host that obeyed another deployd until now.
    """
    if public_key is None:
        public_key = keys.ensure_ssh_key(paths) if paths else ""
    bare = {host.name: admin.look(host) for host in hosts}
    for taken in [name for name, one in bare.items() if one.lets_in not in (None, *public_key.split()[1:2])]:
        if on_taken:
            on_taken(taken)
    web = {cpu: webserver.fetch(cpu) for cpu in sorted({one.cpu for one in bare.values()})}
    with tempfile.TemporaryDirectory(prefix="dpl-") as name:  # 0700
        folder = Path(name)
        keys.write_known_hosts(hosts, folder / "known_hosts")
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps(inventory_of(hosts, bare, web, public_key=public_key, folder=folder)))
        seen = _Output(on_line)
        try:
            process.run(
                argv(inventory, check=check),
                cwd=folder,
                env=environment(folder),
                timeout=_TIMEOUT,
                on_line=seen,
                cancel=cancel,
            )
        except CommandError as error:
            raise _failed(hosts, seen, error) from error
    if check or paths is None:
        return {}
    return _proof(hosts, paths)


def argv(inventory: Path, *, check: bool = False) -> tuple[str, ...]:
    """How Ansible is called: the one beside this Python."""
    beside = Path(sys.executable).parent / "ansible-playbook"
    program = str(beside) if beside.exists() else "ansible-playbook"
    playbook = own_paths.data_dir("playbooks") / "host.yml"
    return (program, "--inventory", str(inventory), *(("--check",) if check else ()), str(playbook))


def environment(folder: Path) -> dict[str, str]:
    """Ansible's settings: all of its own files are in `folder`, no configuration of the person's is read."""
    config = folder / "ansible.cfg"
    config.touch()
    settings = {
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=10s",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_HOST_KEY_CHECKING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_FORKS": "20",
        "ANSIBLE_TIMEOUT": "15",
    }
    agent = os.environ.get("SSH_AUTH_SOCK")
    return settings | ({"SSH_AUTH_SOCK": agent} if agent else {})


def inventory_of(
    hosts: Sequence[Host],
    bare: Mapping[HostName, Bare],
    web: Mapping[str, WebServer],
    *,
    public_key: str,
    folder: Path,
) -> dict[str, Any]:
    """Ansible's inventory: how to log in, and what the playbook needs to know of each host. Packs the helper."""
    helper = helperfiles.pack(folder / "helper.tar")
    variables = {}
    for host in hosts:
        server = web[bare[host.name].cpu]
        options = {
            "UserKnownHostsFile": str(folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": ",".join(keys.algorithms(host.host_key)),
            "UpdateHostKeys": "no",
            "ForwardAgent": "no",
        }
        words = ["-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
        if host.identity:
            words += ["-o", "IdentitiesOnly=yes"]
        variables[host.name] = {
            "ansible_host": host.address,
            "ansible_port": host.port,
            "ansible_user": host.admin_user,
            "ansible_become": not bare[host.name].is_root,
            "ansible_become_method": "sudo",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": shlex.join(words),
            "deployd_public_key": public_key,
            "deployd_helper_archive": str(folder / "helper.tar"),
            "deployd_helper_version": helper,
            "deployd_web_file": str(server.path),
            "deployd_web_version": server.version,
            "deployd_web_sha256": server.sha256,
        } | ({"ansible_ssh_private_key_file": host.identity} if host.identity else {})
    return {"all": {"hosts": variables}}


@dataclass(slots=True)
class _Output:
    """Passes lines on, and remembers which task failed on which host."""

    on_line: Callable[[str], None]
    task: str = ""
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        """Take one line of Ansible's output."""
        self.last = [*self.last[-30:], line]
        if found := _TASK.match(line):
            self.task = found[1]
        elif found := _FATAL.match(line):
            self.failures[found[1]] = (self.task, _message(found[3]))
        self.on_line(line)


def _message(text: str) -> str:
    try:
        data = json.loads(text)
    except ValueError:
        return text[:1000]
    inner = data.get("failed_modules")  # of the first task, which asks by several modules
    said = [data, *(inner.values() if isinstance(inner, dict) else ())]
    parts = [str(one[name]).strip() for one in said for name in ("msg", "stderr", "module_stderr") if one.get(name)]
    # what dpkg says of a full disk stands in its plain output alone
    parts += [line.strip() for line in str(data.get("stdout") or "").splitlines() if _FULL in line][-1:]
    return "\n".join(dict.fromkeys(parts))[:2000] or text[:1000]


def _failed(hosts: Sequence[Host], seen: _Output, error: CommandError) -> HostError:
    names = sorted(seen.failures) or [host.name for host in hosts]
    tasks = "; ".join(f"{name}: {task}" for name, (task, _) in sorted(seen.failures.items()))
    details = "\n".join(f"{name}  {task}: {message}" for name, (task, message) in sorted(seen.failures.items()))
    room = " (`df -h` there says what is full)" if _FULL in details else ""
    return HostError(
        f"bootstrapping {', '.join(names)} failed" + (f" ({tasks})" if tasks else f": {error.what}"),
        code="bootstrap-failed",
        host=names[0] if len(names) == 1 else None,
        live="what was live still is: bootstrapping touches no release",
        details=details or "\n".join(seen.last[-20:]) or None,
        fix=f"see to what the task says{room}, then run the same command again: what is done already is not done twice",
    )


def _proof(hosts: Sequence[Host], paths: StatePaths) -> dict[HostName, Facts]:
    """Log in as rollouts will, and ask the helper: the host is made only when that works."""
    with Pool(hosts, paths=paths) as pool:
        outcomes = pool.each(pool.names, lambda helper: helper.facts())
    found: dict[HostName, Facts] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, HostError):
            raise outcome
        found[name] = outcome
    return found
