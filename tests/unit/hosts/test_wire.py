"""rsync's door: what is called, and what its exit codes mean."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import UnreachableError
from deployd.hosts import wire
from tests.unit.hosts.fakes import WEB1

HOST = Host(name=HostName.parse("web1"), address="192.0.2.1", port=2222, host_key="ssh-ed25519 AAAA")


def test_ssh_trusts_the_pinned_key_and_uses_ours_only() -> None:
    argv = wire.ssh_argv(HOST, user="deployd", key=Path("/s/key"), known_hosts=Path("/t/k"), connect_timeout=10)
    assert argv[:5] == ("ssh", "-F", "none", "-T", "-i")
    options = {argv[index + 1] for index, word in enumerate(argv) if word == "-o"}
    assert {
        "BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/t/k", "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes", "IdentityAgent=none", "ForwardAgent=no", "HostKeyAlgorithms=ssh-ed25519",
    } <= options  # fmt: skip
    assert argv[-4:] == ("-p", "2222", "-l", "deployd")


def test_rsync_is_called_as_the_host_allows() -> None:
    argv = wire.rsync_argv(
        base="/a/objects", to="192.0.2.1:/srv/deployd/incoming/x/", remote_shell=("ssh", "-o", "a b")
    )
    assert argv[0] == "rsync"
    assert argv[-2:] == ("/a/objects/", "192.0.2.1:/srv/deployd/incoming/x/")
    assert shlex.split(argv[argv.index("-e") + 1]) == ["ssh", "-o", "a b"]
    assert {"--times", "--no-relative", "--partial-dir=.deployd-partial", "--files-from=-", "--from0"} <= set(argv)
    refused = {"--links", "--perms", "--inplace", "--append", "--delete", "--recursive", "--archive"}
    assert not refused & set(argv)


@pytest.mark.parametrize(
    ("exit_code", "said", "code"),
    [
        (12, b"rsync error: error in rsync protocol data stream", "connection-lost"),
        (255, b"", "connection-lost"),
        (30, b"", "connection-lost"),
        (-9, b"", "connection-lost"),
        (11, b'write failed on "x": No space left on device (28)', "disk-full"),
        (12, b"No space left on device", "disk-full"),
        (127, b"", "rsync-missing"),
        (12, b"sh: 1: rsync: command not found", "rsync-missing"),
        (23, b"send_files failed to open", "transfer-failed"),
    ],
)
def test_exit_codes_are_translated(exit_code: int, said: bytes, code: str) -> None:
    error = wire.failure(exit_code, said, name=WEB1, address="192.0.2.1")
    assert (error.code, error.host) == (code, WEB1)
    assert error.fix
    assert error.live == "unchanged"
    assert isinstance(error, UnreachableError) == (code == "connection-lost")
