"""A rollout is followed through a proxy that says 502 while the daemon is started again, and through quiet hours."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from deployd.domain.ids import AppName, EnvironmentName, HostName, RolloutId
from deployd.domain.secret import Secret
from deployd.errors import NotAllowedError, UnreachableError
from deployd.paths import StatePaths
from deployd.remote import client as remote
from deployd.remote import kept
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from deployd.rollouts.values import error_to_json
from tests.support.certificates import made_certificate

RESULT = {
    "rollout": "r-20261121-101530-k2x7ab", "release": None, "outcome": "live", "previous": None, "duration_s": 1.0,
    "flip_s": None, "hosts": [],
}  # fmt: skip
PAGE = b"<html>502 Bad Gateway</html>"


class Front:
    """Answers in turn: a status with a page, or the lines of a stream; the last one is said again."""

    def __init__(self, *answers: int | bytes) -> None:
        self.left = list(answers)
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                now = front.left.pop(0) if len(front.left) > 1 else front.left[0]
                status, body = (now, PAGE) if isinstance(now, int) else (200, now)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def front():
    made: list[Front] = []

    def make(*answers: int | bytes) -> Front:
        made.append(Front(*answers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def client_of(front, tmp_path):
    return RemoteClient(Daemon(url=front.url, token=Secret("dpl_x")), StatePaths(tmp_path), who="ada")


def attend(client):
    return client.attend(
        RolloutId("r-20261121-101530-k2x7ab"), report=lambda *_, **__: None, cancel=threading.Event(), cancels=False
    )


END = b": still here\n\nevent: end\ndata: " + json.dumps({"result": RESULT, "error": None}).encode() + b"\n\n"
QUIET = b": still here\n\n"  # and then it is cut


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_a_proxy_says_while_the_daemon_starts_is_waited_for(front, tmp_path, status):
    client = client_of(front(status, status, END), tmp_path)
    assert attend(client).outcome == "live"
    client = client_of(front(status), tmp_path)
    with pytest.raises(UnreachableError) as caught:
        client.me()
    assert (caught.value.code, caught.value.retryable) == ("daemon-unreachable", True)


def test_a_certificate_that_nobody_vouches_for_is_told_with_the_way_out(front, tmp_path):
    made = front(END)
    certificate, key = made_certificate("localhost")
    (tmp_path / "pem").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    made.server.socket = context.wrap_socket(made.server.socket, server_side=True)
    made.url = f"https://localhost:{made.server.server_address[1]}"
    with pytest.raises(UnreachableError) as caught:
        client_of(made, tmp_path).me()
    assert caught.value.code == "daemon-certificate"
    assert "SSL_CERT_FILE" in caught.value.fix


def line(text: str, at: float) -> bytes:
    told = {"host": "web1", "time": at, "release": None, "instance": 1, "message": text, "stream": "stdout"}
    return b"event: line\ndata: " + json.dumps(told).encode() + b"\n\n"


def lines_of(front, tmp_path, *, follow: bool = True) -> list[str]:
    found = client_of(front, tmp_path).logs(
        AppName("shop"), EnvironmentName("production"), hosts=[HostName("web1")], follow=follow
    )
    return [one.message for one in found]


def test_logs_that_are_followed_go_on_where_the_daemon_went_away(front, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_PAUSE", 0.01)
    now = time.time() + 5
    told = front(
        line("one", now),
        502,
        line("one", now) + line("two", now + 1),
        line("two", now + 1) + line("three", now + 2) + END,
    )
    assert lines_of(told, tmp_path) == ["one", "two", "three"]
    gone = {"class": "UnreachableError", "fields": {"what": "web1 is away", "code": "host-away", "fix": "see it"}}
    away = b"event: end\ndata: " + json.dumps({"result": None, "error": gone}).encode() + b"\n\n"
    with pytest.raises(UnreachableError, match="web1 is away"):  # a host, and not the daemon: that is its end
        lines_of(front(away, END), tmp_path)
    for answer, follow in ((502, True), (line("one", now), False)):  # nobody was there; what is cut is not whole
        with pytest.raises(UnreachableError) as caught:
            lines_of(front(answer), tmp_path, follow=follow)
        assert caught.value.code == "daemon-unreachable"


def test_each_time_that_it_goes_has_its_own_patience(front, tmp_path, monkeypatch):
    """Nothing is told between two restarts: the time since the first one is not the second one's."""
    moment = [0.0]

    def sleep(_: float) -> None:
        moment[0] += 0.6 * remote.COMES_BACK

    monkeypatch.setattr(remote, "time", SimpleNamespace(monotonic=lambda: moment[0], sleep=sleep))
    assert attend(client_of(front(502, QUIET, 502, QUIET, 502, END), tmp_path)).outcome == "live"
    with pytest.raises(UnreachableError) as caught:
        attend(client_of(front(QUIET, 502), tmp_path))
    assert caught.value.code == "daemon-gone"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_token_that_ends_meanwhile_does_not_end_the_rollout_and_that_is_said(front, tmp_path, monkeypatch, at_once):
    ended = NotAllowedError("this token is not valid any more", code="token-invalid", fix="ask for a new one")
    last = {"outcome": None, "result": None, "error": error_to_json(ended)}
    client = client_of(front(b"event: end\ndata: " + json.dumps(last).encode() + b"\n\n"), tmp_path)
    if not at_once:  # it is asked for when a stream that broke is taken up again

        def refused(*_, **__):
            raise ended

        monkeypatch.setattr(client._link, "stream", refused)
    with pytest.raises(NotAllowedError, match="not valid any more") as caught:
        attend(client)
    assert caught.value.exit_code == 5
    assert caught.value.live == "unknown to this command; rollout r-20261121-101530-k2x7ab goes on"
    assert "deployd watch r-20261121-101530-k2x7ab" in caught.value.fix
