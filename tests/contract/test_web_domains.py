"""Names, https and certificates, with the real web server on sockets that it is handed: what visitors of each meet."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.hosts import webserver
from tests.contract.fakehost import A
from tests.contract.test_web_app import app, echo
from tests.support.authority import UNUSED, Authority
from tests.support.certificates import made_certificate
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb

APP = ("shop", "production")
NAMES = {"domains": ["shop.test", "*.shop.test"], "redirects": {"www.shop.test": "shop.test"}}
TWO_NAMES = {**NAMES, "domains": ["deep.shop.test", "shop.test"]}


def bring(host: FakeHost, pair: tuple[str, str], *names: str) -> Any:
    document = {"chain": pair[0], "key": pair[1], "names": list(names), "since": 1, "until": 2e9}
    return host.ok("certificate", *APP, doc=document)


@pytest.fixture
def live(host: FakeHost, web: RealWeb) -> RealWeb:
    """The app, live, with names and https; the web server is not started."""
    host.ok("configure", *APP, doc={"instances": 1, **NAMES, "tls": "internal", "hsts": 3600})
    host.live(A, app("one"))
    echo(host, A)
    return web


def start(live: RealWeb) -> None:
    live.start()
    for name in ("shop.test", "www.shop.test", "deep.shop.test"):
        live.wait_for(name)


def test_https_everywhere(live: RealWeb) -> None:
    start(live)

    page = live.ask_at("https://shop.test/page?a=b")
    seen = json.loads(page.body)
    assert (seen["path"], seen["headers"]["x-forwarded-proto"], seen["headers"]["host"]) == (
        "/page?a=b", "https", "shop.test",
    )  # fmt: skip
    assert seen["headers"]["x-forwarded-port"] == "443"
    assert page.headers["strict-transport-security"] == "max-age=3600"
    assert page.headers["x-deployd-release"] == A
    assert page.headers["alt-svc"] == f'h3=":{live.secure}"; ma=2592000'
    assert live.ask_at("https://deep.shop.test/").status == 200
    for url, target in {
        "http://shop.test/a?b=c": "https://shop.test/a?b=c",
        "http://deep.shop.test/": "https://deep.shop.test/",
        "http://www.shop.test/a?b=c": "https://shop.test/a?b=c",
        "https://www.shop.test/a?b=c": "https://shop.test/a?b=c",
    }.items():
        answer = live.ask_at(url, "POST")
        assert (answer.status, answer.headers["location"]) == (308, target), url
        assert "server" not in answer.headers
    assert live.ask_at("http://shop.test/.deployd/health").text == "ok"


def test_a_long_head_over_http2_ends_nothing_else_on_its_connection(live: RealWeb) -> None:
    """The app answers it (this one takes it; Node.js says 431), and the connection goes on."""
    start(live)
    for size in (20_000, 1_000_000):
        silent = [
            "--silent",
            "--insecure",
            "--http2",
            "--max-time",
            "20",
            "--write-out",
            "%{http_code}-%{http_version} ",
        ]
        url = f"https://shop.test:{live.secure}/"
        where = ["--resolve", f"shop.test:{live.secure}:127.0.0.1", "--header", "@-", "--output", "/dev/null"]
        done = subprocess.run(
            ["curl", *silent, *where, url, "--next", *silent, *where[:2], "--output", "/dev/null", url],
            input=f"X-Long: {'a' * size}\n", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.split()[1] == "200-2", done
        assert size > 60_000 or done.stdout.split()[0] in {"200-2", "431-2", "502-2"}, (
            done
        )  # as far as curl itself goes


def test_names_of_nobody(live: RealWeb) -> None:
    start(live)

    assert live.ask_at("http://other.test/").status == 404
    assert live.ask_at("http://shop.test.other.test/").status == 404
    assert live.ask_at("https://shop.test/", Host="other.test").status == 421
    for scheme in ("http", "https"):  # a name that ends in a dot is the same name
        dotted = live.ask_at(f"{scheme}://shop.test/a?b", Host="shop.test.")
        assert (dotted.status, dotted.headers["location"]) == (308, f"{scheme}://shop.test/a?b")
    with pytest.raises(OSError, match="internal error"):
        live.ask_at("https://other.test/")


@pytest.fixture
def http3(tmp_path: Path, live: RealWeb) -> Iterator[Any]:
    """`http3()` starts a client: another web server, which passes every request on over HTTP/3; its own port is told."""
    started = []

    def start_one() -> int:
        port = free_port()
        config = {
            "admin": {"disabled": True},
            "apps": {"http": {"servers": {"through": {
                "listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True},
                "routes": [{"handle": [{
                    "handler": "reverse_proxy", "upstreams": [{"dial": f"127.0.0.1:{live.secure}"}],
                    "headers": {"request": {"set": {"Host": ["shop.test"]}}},
                    "transport": {
                        "protocol": "http", "versions": ["3"],
                        "tls": {"server_name": "shop.test", "insecure_skip_verify": True},
                    },
                }]}],
            }}}},
        }  # fmt: skip
        file = tmp_path / "through.json"
        file.write_text(json.dumps(config))
        started.append(subprocess.Popen(
            [str(webserver.fetch("x64").path), "run", "--config", str(file)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(tmp_path)},
        ))  # fmt: skip
        until_open(port)
        return port

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(port)


def test_http3_over_a_socket_that_is_handed_over(live: RealWeb, http3: Any) -> None:
    """Also after the configuration was loaded anew; a new client also after the web server was killed."""
    start(live)

    def ask(client: int) -> tuple[int, str | None]:
        own, live.port = live.port, client
        try:
            answer = live.ask("/robots.txt")
        finally:
            live.port = own
        return answer.status, answer.headers.get("via")

    client = http3()
    assert ask(client) == (200, "3.0 Caddy")
    live.reload()
    assert ask(client) == (200, "3.0 Caddy")
    assert live.process
    live.process.kill()
    live.process.wait()
    start(live)
    assert ask(http3()) == (200, "3.0 Caddy")


def test_a_certificate_that_is_brought(live: RealWeb, host: FakeHost) -> None:
    """The host's own authority stands in until there is one; a newer one takes the place of the one before."""
    host.ok("configure", *APP, doc={"instances": 1, **NAMES, "tls": "files"})
    site = host.root / "etc/deployd/web/sites/shop-production.caddy"
    assert "tls internal" in site.read_text()
    first, second = (made_certificate("shop.test", "*.shop.test") for _ in range(2))
    assert bring(host, first, "shop.test", "*.shop.test")["changed"] == ["certificate"]
    assert bring(host, first, "shop.test", "*.shop.test")["changed"] == []
    folder = host.root / "etc/deployd/web/certificates/shop-production"
    kept = sorted(folder.iterdir())
    assert [path.suffix for path in kept] == [".crt", ".key"]
    assert [path.stat().st_mode & 0o777 for path in (folder, *kept)] == [0o750, 0o640, 0o640]
    live.start()
    trusted = host.root / "first.pem"
    trusted.write_text(first[0])
    assert live.shown("shop.test", trusting=str(trusted))["subject"] == ((("commonName", "shop.test"),),)

    bring(host, second, "shop.test", "*.shop.test")
    live.reload()

    trusted.write_text(second[0])
    live.shown("www.shop.test", trusting=str(trusted))
    assert len(list(folder.iterdir())) == 2
    assert host.ok("status", *APP)["certificate"]["names"] == ["shop.test", "*.shop.test"]
    assert second[1] not in str(host.calls())


def test_names_that_a_brought_certificate_lacks_are_answered_as_if_there_were_none(
    live: RealWeb, host: FakeHost
) -> None:
    """The others are served with it; those have the host's own authority, and http, until one with them comes."""
    names = {
        "domains": ["late.test", "shop.test"],
        "redirects": {"old.test": "shop.test", "www.shop.test": "late.test"},
    }
    host.ok("configure", *APP, doc={"instances": 1, **names, "tls": "files"})
    pair = made_certificate("shop.test", "www.shop.test")
    bring(host, pair, "shop.test", "www.shop.test")
    assert host.ok("status", *APP)["certificate"]["missing"] == ["late.test", "old.test"]
    live.start()
    trusted = host.root / "first.pem"
    trusted.write_text(pair[0])
    for name in ("shop.test", "www.shop.test"):
        live.shown(name, trusting=str(trusted))
    live.wait_for("late.test")
    live.wait_for("old.test")
    assert live.ask_at("https://late.test/").headers["x-deployd-release"] == A
    with pytest.raises(ssl.SSLCertVerificationError):
        live.shown("late.test", trusting=str(trusted))
    for url, status, target in (
        ("http://shop.test/a", 308, "https://shop.test/a"),
        ("http://late.test/a", 200, None),
        ("http://old.test/a", 308, "https://shop.test/a"),
        ("http://www.shop.test/a", 307, "http://late.test/a"),
    ):
        answer = live.ask_at(url)
        assert (answer.status, answer.headers.get("location")) == (status, target), url


def test_a_certificate_that_does_not_fit_changes_nothing(live: RealWeb, host: FakeHost) -> None:
    host.ok("configure", *APP, doc={"instances": 1, **NAMES, "tls": "files"})
    good, other = made_certificate("shop.test"), made_certificate("shop.test")
    bring(host, good, "shop.test")
    before = host.ok("status", *APP)["certificate"]

    def refused(document: dict[str, Any], code: str) -> None:
        host.refused("certificate", *APP, doc={"names": [], "since": 0, "until": 1, **document}, code=code)

    refused({"chain": good[0], "key": other[1]}, "certificate-refused")
    refused({"chain": good[0], "key": "x"}, "bad-request")
    refused({"chain": "../../etc/passwd", "key": good[1]}, "bad-request")
    (host.bin / "fail-caddy").touch()
    refused({"chain": other[0], "key": other[1]}, "web-refused")
    (host.bin / "fail-caddy").unlink()
    (host.bin / "fail-reload-or-restart").touch()
    refused({"chain": other[0], "key": other[1]}, "web-reload-failed")
    (host.bin / "fail-reload-or-restart").unlink()

    assert host.ok("status", *APP)["certificate"] == before
    live.start()
    trusted = host.root / "good.pem"
    trusted.write_text(good[0])
    assert live.shown("shop.test", trusting=str(trusted))


def test_the_web_server_asks_an_authority_over_http_or_over_tls(live: RealWeb, host: FakeHost, tmp_path: Path) -> None:
    """Each of these authorities sees one port only; the second one takes the place of the first."""
    over_http = Authority(tmp_path / "http", "127.0.0.1", http=live.plain, tls=UNUSED)
    over_tls = Authority(tmp_path / "tls", "127.0.0.1", http=UNUSED, tls=live.secure)
    try:
        for authority in (over_http, over_tls):
            authority.start().lead("shop.test", ["127.0.0.1"])
            acme = {"directory": authority.directory, "root": Path(authority.root).read_text()}
            host.ok("configure", *APP, doc={"domains": ["shop.test"], "tls": "acme", "acme": acme})
            if live.process:
                assert host.calls()[-1] == "restart deployd-web.service"
                live.process.kill()
                live.process.wait()
            live.start()
            wait_for_certificate(live, "shop.test", authority.trusted())
        host.ok("configure", *APP, doc={"domains": ["shop.test"], "tls": "acme", "acme": acme, "hsts": 60})
        assert host.calls()[-1] == "reload-or-restart deployd-web.service"
    finally:
        over_http.close()
        over_tls.close()


def wait_for_certificate(live: RealWeb, name: str, trusting: str) -> None:
    deadline = time.monotonic() + 40
    while True:
        try:
            live.shown(name, trusting=trusting)
        except ssl.SSLError:
            assert time.monotonic() < deadline, (live.host.root / "caddy.log").read_text()
            time.sleep(0.1)
        else:
            return


def test_answers_for_an_authority(live: RealWeb, host: FakeHost) -> None:
    """They are found by any name, also one that no app has yet; nothing else in or above their folder is."""
    token, text = "tokenTOKEN_0123456789-", "tokenTOKEN_0123456789-." + "x" * 43
    host.ok("answer", token, doc={"text": text})
    live.start()

    for name in ("shop.test", "www.shop.test", "new.test"):
        assert live.ask_at(f"http://{name}/.well-known/acme-challenge/{token}").text == text
    for path in ("nobodys-token-0123456789", "..%2f..%2fsites%2fdefault.caddy", ""):
        assert live.ask_at(f"http://new.test/.well-known/acme-challenge/{path}").status == 404
    host.ok("answer", token, doc={})
    assert live.ask_at(f"http://new.test/.well-known/acme-challenge/{token}").status == 404
    host.refused("answer", "short", doc={"text": text}, code="bad-request")
    host.refused("answer", token, doc={"text": "<html>"}, code="bad-request")
    host.refused("answer", "../../../../tmp/aaaaaaaaaa", doc={"text": text}, code="bad-request")


def test_http_is_answered_until_an_authority_gave_a_certificate(live: RealWeb, host: FakeHost) -> None:
    """A redirect, and one that browsers keep, would lead into nothing while the authority refuses."""
    acme = {"directory": "https://127.0.0.1:1/dir"}
    host.ok("configure", *APP, doc={"instances": 1, **TWO_NAMES, "tls": "acme", "acme": acme})
    live.start()
    assert live.ask_at("http://shop.test/a").headers["x-deployd-release"] == A
    www = live.ask_at("http://www.shop.test/a?b")
    assert (www.status, www.headers["location"]) == (307, "http://shop.test/a?b")
    told = host.ok("status", *APP)["certificate"]
    assert (told["until"], told["missing"]) == (None, ["deep.shop.test", "shop.test", "www.shop.test"])

    store = host.root / "var/lib/deployd-web/caddy/certificates/127.0.0.1-1-dir"
    chain, _ = made_certificate("shop.test", days=7)
    (store / "shop.test").mkdir(parents=True)
    (store / "shop.test/shop.test.crt").write_text(chain)

    for url in ("http://shop.test/a", "http://SHOP.test/a", "http://www.shop.test/a"):
        assert live.ask_at(url).status == 308, url
    assert live.ask_at("http://deep.shop.test/").headers["x-deployd-release"] == A
    assert live.ask_at("http://shop.test/.deployd/health").text == "ok"
    told = host.ok("status", *APP)["certificate"]
    assert told["missing"] == ["deep.shop.test", "www.shop.test"]
    assert 6.9 * 86400 < told["until"] - time.time() < 7.1 * 86400


def test_http_is_answered_until_deployd_brought_a_certificate(live: RealWeb, host: FakeHost) -> None:
    host.ok("configure", *APP, doc={"instances": 1, **TWO_NAMES, "tls": "files"})
    live.start()
    assert live.ask_at("http://shop.test/a").headers["x-deployd-release"] == A
    assert live.ask_at("http://www.shop.test/").headers["location"] == "http://shop.test/"
    assert host.ok("status", *APP)["certificate"]["missing"] == ["deep.shop.test", "shop.test", "www.shop.test"]


def test_previews_over_https_and_names_that_no_release_has(live: RealWeb, host: FakeHost) -> None:
    host.ok("configure", *APP, doc={"instances": 1, **NAMES, "tls": "internal", "preview": {"domain": "preview.test"}})
    live.start()
    live.wait_for(f"{A}.shop.preview.test")
    assert live.ask_at(f"https://{A}.shop.preview.test/").headers["x-deployd-release"] == A
    for name in ("nothing.shop.preview.test", f"{A[:-1]}z.shop.preview.test"):
        answer = live.ask_at(f"https://{name}/")
        assert (answer.status, answer.headers["x-robots-tag"]) == (404, "noindex, nofollow")
        assert live.ask_at(f"http://{name}/").status == 308


def test_the_web_server_is_told_which_previews_there_are(live: RealWeb) -> None:
    live.start()

    def asked(name: str) -> int:
        return live.ask_at(f"http://127.8.4.43/?domain={name}").status

    assert asked(f"{A}.shop.preview.test") == 200
    for name in (
        f"{A}.blog.preview.test",
        "x.shop.preview.test",
        "shop.preview.test",
        f"{A}%2f..%2f{A}.shop.x",
        "*.shop.x",
        "",
    ):
        assert asked(name) == 404, name


def test_what_is_refused(host: FakeHost) -> None:
    host.ok("configure", *APP, doc={**NAMES, "tls": "internal"})
    before = (host.root / "etc/deployd/web/sites/shop-production.caddy").read_text()
    blog = ("configure", "blog", "production")

    for taken in (
        {"domains": ["www.shop.test"]},
        {"domains": ["shop.test"], "tls": "internal"},
        {"domains": ["blog.test"], "redirects": {"shop.test": "blog.test"}},
    ):
        host.refused(*blog, doc=taken, code="domain-taken")
    for wrong in (
        {"domains": [], "tls": "acme"},
        {"domains": ["a.test"], "tls": "magic"},
        {"domains": ["a.test"], "tls": "acme", "port": 8443},
        {"domains": ["a.test"], "redirects": {"a.test": "b.test"}},
        {"domains": ["a.test"], "redirects": {"b.test": "x y {"}},
        {"domains": ["a.test"], "tls": "acme", "acme": {"directory": "https://x/ {\n"}},
        {"domains": ["a.test"], "tls": "acme", "acme": {"email": "a@b } import x"}},
    ):
        host.refused(*blog, doc=wrong, code="bad-request")
    assert (host.root / "etc/deployd/web/sites/shop-production.caddy").read_text() == before
    assert not (host.root / "etc/deployd/web/sites/blog-production.caddy").exists()


ROOT = made_certificate("authority.test")[0]


@pytest.mark.parametrize(
    "config",
    [
        {"domains": ["shop.test"], "redirects": {"www.shop.test": "shop.test"}},
        {"domains": ["shop.test"], "port": 8080, "redirects": {"www.shop.test": "shop.test"}},
        {"domains": ["shop.example.com"], "tls": "acme"},
        {"domains": ["xn--bcher-kva.example.com", "a.example.com"], "tls": "acme", "hsts": 1, "acme": {
            "email": "a@example.com", "directory": "https://acme.example.com:14000/dir", "root": ROOT}},
        {**NAMES, "tls": "internal"},
        {**NAMES, "tls": "files"},
    ],
)  # fmt: skip
def test_the_web_server_itself_takes_every_configuration(host: FakeHost, config: dict[str, Any]) -> None:
    real = str(webserver.fetch("x64").path)

    host.ok("configure", *APP, doc=config, DEPLOYD_HOST_CADDY=real)
    host.ok("configure", "blog", "production", doc={"domains": []}, DEPLOYD_HOST_CADDY=real)
