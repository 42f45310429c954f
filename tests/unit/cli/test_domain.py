"""deployd domain, as it is typed; who answers on the network is made up."""

from __future__ import annotations

import json
import time

import pytest

from deployd.certificates import visiting
from deployd.certificates.reading import Certificate
from deployd.certificates.visiting import Answer, Shown
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.secret import Secret
from deployd.errors import UnreachableError
from deployd.rollouts.certified import Kept, Site

DAY = 86400.0
WEB1, WEB2 = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def names(app):
    toml = app / "deployd.toml"
    head = "[environments.production]\n"
    domains = 'domains = ["bücher.com", { name = "www.bücher.com", redirect = "bücher.com" }]\n'
    toml.write_text(toml.read_text().replace(head, head + domains))
    return app


class Internet:
    """Where names lead, and what each address answers; all is well until a test changes it."""

    def __init__(self):
        self.dns = {"xn--bcher-kva.com": [WEB1, WEB2], "www.xn--bcher-kva.com": [WEB1, WEB2]}
        self.plain = {}
        self.secure = {}

    def addresses(self, name):
        return tuple(self.dns.get(name, [name] if name[0].isdigit() else []))

    def ask_plain(self, _name, address, _port, path="/"):
        told = Answer(status=200, text="ok") if path == "/.deployd/health" else None
        found = told or Answer(status=308, location="https://xn--bcher-kva.com/")
        return self.plain.get(address, found)

    def ask_secure(self, name, address, **_):
        away = name.startswith("www")
        answer = Answer(status=308, location="https://xn--bcher-kva.com/") if away else Answer(status=200)
        return self.secure.get(address, Shown(certificate=certificate(60), answer=answer))


def certificate(days, *names):
    now = time.time()
    named = names or ("xn--bcher-kva.com", "*.xn--bcher-kva.com")
    return Certificate(names=named, begins=now - 30 * DAY, ends=now + days * DAY, issuer="Good CA")


@pytest.fixture
def internet(monkeypatch):
    made = Internet()
    for name in ("addresses", "ask_plain", "ask_secure"):
        monkeypatch.setattr(visiting, name, getattr(made, name))
    return made


def test_list(deployd, names):
    done = deployd("domain", "list")
    assert done.exit == 0
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["bücher.com", "www.bücher.com"]
    assert "leads to bücher.com" in done.out
    assert "asked by deployd for all hosts" in done.out
    assert json.loads(deployd("domain", "list", "--json").out)[1] == {
        "name": "www.xn--bcher-kva.com", "redirect": "xn--bcher-kva.com", "tls": "files", "shown": "www.bücher.com",
    }  # fmt: skip


def test_list_without_domains(deployd, app):
    assert "every name that no other app has" in deployd("domain", "list").out


def test_all_is_well(deployd, names, internet):
    done = deployd("domain", "check")
    assert done.exit == 0, done.out
    assert done.out.splitlines()[-1] == "all well"
    assert "bücher.com at web2" in done.out


def found(deployd, *words):
    done = deployd("domain", "check", "--json", *words)
    return done.exit, [(one["host"], one["what"], one["fix"]) for one in json.loads(done.out) if one["level"] != "ok"]


def test_dns(deployd, names, internet):
    internet.dns["www.xn--bcher-kva.com"] = []
    internet.dns["xn--bcher-kva.com"] = [WEB1]
    code, told = found(deployd)
    assert code == 1
    assert (told[0][1], told[0][2]) == (
        "no visitor reaches web2", f"DNS should say: xn--bcher-kva.com A {WEB1}, xn--bcher-kva.com A {WEB2}",
    )  # fmt: skip
    assert (told[1][1], told[1][2].startswith("add to DNS: www.")) == ("it has no address", True)

    internet.dns["xn--bcher-kva.com"] = ["198.51.100.7"]  # through it the hosts answer: a load balancer
    assert found(deployd, "bücher.com") == (0, [])
    internet.plain["198.51.100.7"] = Answer(error="connection refused")
    code, told = found(deployd, "bücher.com")
    assert (code, told[0][1]) == (1, "it leads to 198.51.100.7, which is none of the hosts")
    assert found(deployd, "bücher.com", "--resolve", f"bücher.com={WEB1}", "--resolve", f"bücher.com={WEB2}") == (0, [])


def test_ports_and_redirects(deployd, names, internet):
    internet.plain[WEB1] = Answer(error="connection refused")
    internet.plain[WEB2] = Answer(status=200)
    internet.secure[WEB2] = Shown(error="no certificate for this name yet")
    code, told = found(deployd, "bücher.com")
    assert code == 1
    assert [(host, what) for host, what, _ in told] == [
        ("web1", f"port 80 of {WEB1}: connection refused"),
        ("web2", "http answers 200: it leads to https once there is a certificate"),
        ("web2", f"port 443 of {WEB2}: no certificate for this name yet"),
    ]
    assert all(fix for *_, fix in told)
    internet.secure[WEB2] = Shown(certificate=certificate(60), answer=Answer(status=200))
    assert ("web2", "answers 200, and should lead to https://xn--bcher-kva.com") in [
        (host, what) for host, what, _ in found(deployd, "bücher.com")[1]
    ]


def test_certificates(deployd, names, internet):
    answer = Answer(status=200)
    internet.secure[WEB1] = Shown(certificate=certificate(-2, "other.com"), distrust="expired", answer=answer)
    internet.secure[WEB2] = Shown(certificate=certificate(5.01), answer=Answer(status=503))
    code, told = found(deployd, "bücher.com")
    assert code == 1
    assert [(host, what.partition(" (")[0].replace(" 0 h", "")) for host, what, _ in told] == [
        ("web1", "the certificate is for other.com"),
        ("web1", "the certificate expired 2 d ago"),
        ("web1", "browsers distrust it: expired"),
        ("web2", "the certificate ends in 5 d"),
        ("web2", "https answers 503"),
    ]


def test_an_own_certificate_that_browsers_distrust_is_not_deployds_to_renew(deployd, names, internet):
    toml = names / "deployd.toml"
    head = "[environments.production]\n"
    toml.write_text(toml.read_text().replace(head, head + 'tls = { cert = "c.pem", key = "k.pem" }\n'))
    shown = Shown(certificate=certificate(60), distrust="self-signed", answer=Answer(status=200))
    internet.secure |= {WEB1: shown, WEB2: shown}
    code, told = found(deployd, "bücher.com")
    assert (code, [what for _, what, _ in told]) == (1, ["browsers distrust it: self-signed"] * 2)
    assert all("its whole chain in `tls.cert`" in fix and "renew" not in fix for _, _, fix in told)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("nobodys.com",), "domain-unknown"),
        (("--resolve", "bücher.com"), "usage"),
        (("--ca", "/nowhere.pem"), "file-unreadable"),
    ],
)
def test_what_check_does_not_take(deployd, names, internet, words, code):
    done = deployd("domain", "check", "--json", *words)
    assert done.exit == 2
    assert json.loads(done.err)["error"]["code"] == code


def test_nothing_to_check(deployd, app):
    done = deployd("domain", "check", "--json")
    assert (done.exit, json.loads(done.err)["error"]["code"]) == (2, "domain-unknown")


def kept(problem=None):
    site = Site(
        app=AppName("shop"), environment=EnvironmentName("production"), names=("shop.com",), hosts=(HostName("web1"),)
    )
    found = certificate(60, "shop.com")
    return Kept(site=site, chain="CHAIN", key=Secret("KEY"), certificate=found, problem=problem, tried=1.8e9)


def test_what_the_authority_said_and_when_it_is_asked_again(deployd, client, names, internet, monkeypatch):
    for problem, told in ((None, []), ("it leads nowhere", [None])):
        monkeypatch.setattr(type(client), "certificates", lambda *_, now=problem: (kept(now),), raising=False)
        assert [one[0] for one in found(deployd)[1]] == told
    line = deployd("domain", "check").out
    assert "asked at 2027-01-15T08:00:00+00:00: it leads nowhere; a daemon asks again at 2027-01-15T08:59" in line
    assert "`deployd domain renew` asks now" in line


def test_renew(deployd, client, monkeypatch, app, tmp_path):
    asked = []
    away = UnreachableError("web1 is away", host="web1", live="unknown", fix="look at it")
    outcome = {"now": kept(), "told": {HostName("web1"): True}}
    monkeypatch.setattr(
        type(client), "certificates", lambda _self, *where: asked.append(where) or (kept(),), raising=False
    )
    monkeypatch.setattr(
        type(client), "renew_certificate", lambda *_args, **_options: (outcome["now"], outcome["told"]), raising=False
    )

    done = deployd("domain", "renew")
    assert (done.exit, asked[-1]) == (0, ("shop", "production"))
    assert done.out.startswith("✓ shop production: shop.com until ")

    outcome["told"] = {HostName("web1"): away}
    done = deployd("domain", "renew", "--json")
    assert done.exit == 1
    assert json.loads(done.out)["certificates"][0]["failed"]["web1"]["code"] == "host-unreachable"
    outcome |= {"now": kept("it refused"), "told": {}}
    done = deployd("domain", "renew")
    assert (done.exit, done.out[0], "not renewed: it refused; a daemon" in done.out) == (1, "✗", True)
    assert "KEY" not in done.out + done.err

    monkeypatch.chdir(tmp_path)
    deployd("domain", "renew")
    assert asked[-1] == (None, None)
    assert deployd("domain", "renew", "-e", "production").exit == 2
