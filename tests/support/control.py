"""A lab server becomes the control machine: deployd is installed there from a wheel, and its locked dependencies beside it.

The server reaches no package registry, so what it needs is carried over: the wheel is built here and installed there by
pip; each distribution that it depends on is copied file by file as this machine's environment has it.
"""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployd import lab
from tests.support.world import ROOT

PROGRAM = "/opt/deployd/bin/deployd"
_EXTRA = ("pip",)


def needed() -> dict[str, Distribution]:
    """What deployd depends on, and what that does, by name, as pyproject.toml and the installed metadata say."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    waiting = [*map(Requirement, declared), *map(Requirement, _EXTRA)]
    seen: set[tuple[str, str]] = set()
    found: dict[str, Distribution] = {}
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            name = canonicalize_name(wanted.name)
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = distribution(name)
            inner = map(Requirement, found[name].requires or ())
            waiting += [one for one in inner if one.marker is None or one.marker.evaluate({"extra": extra})]
    return found


def carry(lab_name: str, host: str) -> None:
    """Have deployd in /opt/deployd of a host."""
    argv = lab.ssh_argv(lab_name, host, ["sh", "-c", _UNPACK])
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as send,
    ):
        assert send.stdin is not None
        assert send.stdout is not None
        wheel = _wheel(Path(folder))
        with tarfile.open(fileobj=send.stdin, mode="w|") as archive:
            for one in needed().values():
                _add(archive, one)
            archive.add(wheel, f"wheel/{wheel.name}")
        send.stdin.close()
        told = send.stdout.read().decode()
        assert send.wait(120) == 0, told


_UNPACK = """set -eu
python3 -m venv --without-pip /opt/deployd
cd /opt/deployd
tar -xf - --no-same-owner
site=$(echo lib/python3.*/site-packages)
cp -r site/. "$site/" && rm -r site
bin/python -m pip install --no-index --no-deps --quiet --root-user-action=ignore wheel/*.whl
printf '%s\\n' '#!/opt/deployd/bin/python' 'import sys' 'from ansible.cli.playbook import main' 'sys.exit(main())' >bin/ansible-playbook
chmod 755 bin/ansible-playbook
chmod -R a+rX /opt/deployd
ln -sf /opt/deployd/bin/deployd /usr/local/bin/deployd
"""


def _wheel(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("deployd-*.whl")
    return wheel


def _add(archive: tarfile.TarFile, one: Distribution) -> None:
    site = Path(str(one.locate_file("")))
    for file in one.files or ():
        path = Path(str(one.locate_file(file)))
        inside = path.is_relative_to(site) and "__pycache__" not in file.parts and ".." not in file.parts
        if inside and path.is_file():
            archive.add(path, f"site/{path.relative_to(site)}", recursive=False)


def put(lab_name: str, host: str, path: str, text: str, *, mode: str = "644", owner: str = "root:root") -> None:
    """Write a file on a host."""
    words = ["sh", "-c", f"umask 077; mkdir -p $(dirname {shlex.quote(path)}); cat >{shlex.quote(path)} && chmod {mode} {shlex.quote(path)} && chown {owner} {shlex.quote(path)}"]  # fmt: skip
    lab.run(lab_name, host, words, stdin=text.encode())


def send_tree(lab_name: str, host: str, folder: Path, to: str) -> None:
    """Copy a folder to a host."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.add(folder, ".")
    script = f"mkdir -p {shlex.quote(to)} && tar -xf - --no-same-owner -C {shlex.quote(to)}"
    lab.run(lab_name, host, ["sh", "-c", script], stdin=data.getvalue(), timeout=120)


def properties(lab_name: str, host: str, *names: str) -> dict[str, str]:
    """What systemd says of deployd.service."""
    text = lab.run(lab_name, host, ["systemctl", "show", "deployd.service", f"--property={','.join(names)}"]).text
    return dict(line.partition("=")[::2] for line in text.splitlines())


def journal(lab_name: str, host: str) -> list[dict[str, str]]:
    """The daemon's own lines."""
    text = lab.run(lab_name, host, ["journalctl", "-u", "deployd.service", "--no-pager", "-o", "cat"]).text
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"')]
