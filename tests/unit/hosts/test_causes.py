"""Why a host cannot be spoken to: each cause names the address, and what to do."""

from __future__ import annotations

import errno
import pickle
import socket

import pytest

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.hosts import causes

HOST = Host(name=HostName.parse("web1"), address="192.0.2.1", port=2222, host_key="ssh-ed25519 AAAA")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(), "nothing listens"),
        (TimeoutError(), "does not answer"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route"),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve"),
        (EOFError(), "closed the connection"),
        (OSError("odd"), "odd"),
    ],
)
def test_each_cause_is_said(error: BaseException, said: str) -> None:
    made = causes.unreachable(HOST, error, seconds=1.25)
    assert said in made.what
    for part in ("web1", "192.0.2.1", "2222", "1.2 s"):
        assert part in made.what
    assert (made.code, made.exit_code, made.host) == ("host-unreachable", 6, "web1")
    assert made.fix
    assert made.live


def test_a_changed_key_shows_both_fingerprints() -> None:
    made = causes.changed_key(HOST, pinned="SHA256:old", shown="SHA256:new")
    assert made.code == "host-key-changed"
    assert made.exit_code == 6
    assert "SHA256:old" in (made.details or "")
    assert "SHA256:new" in (made.details or "")
    assert "host remove web1" in made.fix


def test_a_refused_key_leads_to_bootstrap() -> None:
    for made in (causes.refused_key(HOST, user="deployd"), causes.no_key(HOST, path="/s/k")):
        assert made.code == "ssh-auth-failed"
        assert "deployd host bootstrap web1" in made.fix
        assert pickle.loads(pickle.dumps(made)).fields() == made.fields()


def test_a_timeout_and_a_lost_wire_may_be_tried_again() -> None:
    assert causes.timed_out(HOST.name, doing="seal", seconds=5).retryable
    assert causes.lost(HOST.name, address="x", doing="seal", live=None).retryable
