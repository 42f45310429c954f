"""Host keys and deployd's own."""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import UnreachableError, UsageError
from deployd.hosts import keys
from deployd.paths import StatePaths

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHNs6IeX4VoAWMbm2uBu8oTz2KjDrUY2Gf0zsk0DgM7E"


def host(address: str, port: int) -> Host:
    return Host(name=HostName.parse("web1"), address=address, port=port, host_key=KEY)


def test_a_fingerprint_is_as_openssh_shows_it() -> None:
    assert keys.fingerprint(KEY) == "SHA256:b0p95R6gfZ0fb0qSA7vEnxz/XILFA8RsaDMQZGtBRwo"
    assert keys.fingerprint(f"{KEY} a comment") == keys.fingerprint(KEY)


@given(st.text(max_size=80))
def test_what_is_no_key_is_refused(text: str) -> None:
    made = None
    with contextlib.suppress(UsageError):
        made = keys.fingerprint(text)
    assert made is None or made.startswith("SHA256:")


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [("192.0.2.1", 22, "192.0.2.1"), ("192.0.2.1", 2222, "[192.0.2.1]:2222"), ("2001:db8::1", 22, "2001:db8::1")],
)
def test_known_hosts_has_one_line_a_host(address: str, port: int, name: str, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    keys.write_known_hosts([host(address, port)], file)
    assert file.read_text() == f"{name} {KEY}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["known_hosts"]


def test_an_rsa_key_is_never_asked_for_by_sha1() -> None:
    assert keys.algorithms("ssh-rsa AAAA") == ("rsa-sha2-512", "rsa-sha2-256")
    assert keys.algorithms(KEY) == ("ssh-ed25519",)


def test_our_own_key_is_made_once(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path / "state")
    line = keys.ensure_ssh_key(paths)
    private = paths.ssh_key.read_bytes()
    assert line.startswith("ssh-ed25519 ")
    assert line.endswith(" deployd")
    assert stat.S_IMODE(paths.ssh_key.stat().st_mode) == 0o600
    paths.ssh_key.with_suffix(".pub").unlink()
    assert keys.ensure_ssh_key(paths) == line
    assert paths.ssh_key.read_bytes() == private
    assert paths.ssh_key.with_suffix(".pub").read_text() == f"{line}\n"


def test_a_name_that_nothing_knows_is_perhaps_an_alias_of_ssh() -> None:
    with pytest.raises(UnreachableError) as caught:
        keys.scan("web1.invalid")
    assert "~/.ssh/config" in caught.value.fix
