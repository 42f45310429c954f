"""Settings of https: a mistake ends the start before anything listens for long; at a SIGHUP all stays as it was."""

from __future__ import annotations

import ssl

import pytest
import structlog

from deployd.daemon import sockets
from deployd.daemon.main import _Life
from deployd.errors import ConfigError
from tests.support.certificates import made_certificate


def shaken(server: ssl.SSLContext) -> str:
    """The name in the certificate that a server's context shows; raises ssl.SSLError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for end in ends * 3:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ssl.DER_cert_to_PEM_cert(ends[0].getpeercert(binary_form=True) or b"")


@pytest.fixture
def life(frame, tmp_path):
    """A daemon's life with a TLS server; `write(certificate, key)` changes its files."""

    def write(certificate: str, key: str) -> None:
        (tmp_path / "tls.crt").write_text(certificate)
        (tmp_path / "tls.key").write_text(key)

    first = made_certificate("first.example")
    write(*first)
    places = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}
    frame.daemon.change_settings({**places, "rollouts": 4})
    made = _Life(frame.daemon, lambda: {**places, "rollouts": 2})
    server = sockets.server(frame.app, tls=(places["tls_certificate"], places["tls_key"]))
    server.config.load()
    made._servers = [sockets.server(frame.app), server]
    return made, server.config.ssl, write, first


def test_a_new_certificate_is_shown_without_a_restart(life, frame):
    made, context, write, (before, _) = life
    second = made_certificate("second.example")
    assert shaken(context).strip() == before.strip()
    write(*second)
    made._reload()
    assert shaken(context).strip() == second[0].strip()
    assert frame.daemon.settings["rollouts"] == 2


@pytest.mark.parametrize("key", [made_certificate("third.example")[1], "no key", None])
def test_a_certificate_with_anothers_key_changes_nothing_and_is_named(life, frame, tmp_path, key):
    made, context, write, (before, _) = life
    write(made_certificate("second.example")[0], key or "")
    if key is None:
        (tmp_path / "tls.key").unlink()
    with structlog.testing.capture_logs() as told:
        made._reload()
    assert told[-1]["event"] == "settings_refused"
    assert str(tmp_path / "tls.key") in told[-1]["error"]
    assert shaken(context).strip() == before.strip()
    assert frame.daemon.settings["rollouts"] == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tls_key": "/nonexistent/tls.key"}, "/nonexistent/tls.key cannot be used"),
        ({"tls_key": None}, "`tls_certificate` is set, and `tls_key` is not"),
        ({"tls_certificate": None}, "`tls_key` is set, and `tls_certificate` is not"),
    ],
)
def test_a_daemon_does_not_start_in_clear_by_mistake(life, frame, changes, told):
    made, *_ = life
    frame.daemon.settings.update({"listen": "127.0.0.1:0", **changes})
    with pytest.raises(ConfigError, match=told):
        made._listen()


def test_who_listens_in_clear_to_everybody_is_warned(frame):
    frame.daemon.change_settings({"listen": "0.0.0.0:0"})
    with structlog.testing.capture_logs() as told:
        local, remote = _Life(frame.daemon, dict)._listen()
    for one in (*local, *remote):
        one.close()
    assert [one["event"] for one in told] == ["listens_in_clear"]
