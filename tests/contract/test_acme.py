"""Certificates from a real authority (pebble): questions over http and over DNS, refusals, and nobody there."""

from __future__ import annotations

import http.server
import threading
import time
from typing import TYPE_CHECKING

import pytest

from deployd import process
from deployd.certificates import acme, reading
from deployd.certificates.obtaining import Obtained, obtain
from deployd.domain.secret import Secret
from deployd.errors import CertificateError
from tests.support.authority import Authority
from tests.support.certificates import made_certificate
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Answers:
    """A web server on one port of this machine, and the authority's own names."""

    def __init__(self, command: str) -> None:
        self.texts: dict[str, str] = {}
        self.command = command
        self.wrong = False
        texts = self.texts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = texts.get(self.path.removeprefix("/.well-known/acme-challenge/"))
                self.send_response(200 if text else 404)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, token: str, text: str) -> None:
        self.texts[token] = text + ("x" if self.wrong else "")

    def take(self, token: str) -> None:
        self.texts.pop(token, None)

    def put_dns(self, name: str, value: str) -> None:
        process.run([self.command, "set", name, value])

    def take_dns(self, name: str, value: str) -> None:
        process.run([self.command, "remove", name, value])


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers("")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def authority(tmp_path: Path, answers: Answers) -> Iterator[Authority]:
    made = Authority(tmp_path / "authority", "127.0.0.1", http=answers.server.server_address[1])
    try:
        made.start()
        made.lead("shop.test", ["127.0.0.1"])
        answers.command = made.dns_command()
        yield made
    finally:
        made.close()


def asked(authority: Authority, answers: Answers, names: Sequence[str], key: Secret | None = None) -> Obtained:
    account = acme.Account(key or acme.new_key())
    with acme.Authority(authority.directory, account=account, root=(authority.folder / "root.pem").read_text()) as one:
        return obtain(names, authority=one, answers=answers, email="ops@shop.test")


def test_names_are_proven_over_http_and_wildcards_over_dns(authority: Authority, answers: Answers) -> None:
    """The authority refuses some nonces on purpose; an account that it knows is found again."""
    names, key = ("*.shop.test", "shop.test"), acme.new_key()

    for _ in range(3):
        got = asked(authority, answers, names, key)
        found = reading.check_pair(
            got.chain, got.key, names=(*names, "a.shop.test"), now=time.time(), what="it", live="nothing"
        )
        assert "Pebble" in found.issuer
        assert got.chain.count("BEGIN CERTIFICATE") == 2
        assert answers.texts == {}
    assert authority.log.count("There are now 1 accounts") == 1


def test_refusals_name_the_domain_and_what_the_authority_said(authority: Authority, answers: Answers) -> None:
    answers.wrong = True
    with pytest.raises(CertificateError, match=r"shop\.test: the authority refused: .*key authorization") as wrong:
        asked(authority, answers, ["shop.test"])
    with pytest.raises(CertificateError, match=r"other\.test: the authority refused") as nowhere:
        asked(authority, answers, ["other.test"])

    for raised in (wrong, nowhere):
        assert (raised.value.code, raised.value.retryable) == ("authority-refused", True)
        assert "domain check" in raised.value.fix
    assert answers.texts == {}


def test_nobody_there_and_nobody_to_be_trusted(authority: Authority, answers: Answers) -> None:
    root = (authority.folder / "root.pem").read_text()
    port = free_port()
    for directory, trusted in ((f"https://127.0.0.1:{port}/dir", root), (authority.directory, None)):
        account = acme.Account(acme.new_key())
        with (
            acme.Authority(directory, account=account, root=trusted) as one,
            pytest.raises(CertificateError) as raised,
        ):
            obtain(["shop.test"], authority=one, answers=answers, email=None)
        assert raised.value.code == "authority-unreachable"
        assert directory in raised.value.what


@pytest.mark.parametrize(
    ("days", "names", "other_key", "code"),
    [
        (30, ("shop.test",), True, "certificate-key-mismatch"),
        (-0.5, ("shop.test",), False, "certificate-expired"),
        (30, ("www.shop.test",), False, "certificate-names"),
    ],
)
def test_a_certificate_of_no_use(days: float, names: tuple[str, ...], other_key: bool, code: str) -> None:  # noqa: FBT001
    chain, key = made_certificate(*names, days=days)
    secret = Secret(made_certificate("shop.test")[1] if other_key else key)

    with pytest.raises(CertificateError) as raised:
        reading.check_pair(chain, secret, names=["shop.test"], now=time.time(), what="a.pem", live="unchanged")

    assert raised.value.code == code
    assert "a.pem" in raised.value.what
    assert "PRIVATE" not in str(raised.value.fields())


def test_what_is_no_certificate() -> None:
    chain, _ = made_certificate("shop.test")
    for first, second in (("hello", "x"), (chain, "x"), (chain, chain)):
        with pytest.raises(CertificateError) as raised:
            reading.check_pair(first, Secret(second), names=[], now=time.time(), what="a.pem", live="unchanged")
        assert raised.value.code == "certificate-unreadable"
