"""The sites of deployd.toml: domains, redirects and certificates, and which of them cannot be."""

from __future__ import annotations

import pytest

from deployd import appfile, appkeys
from deployd.domain import sites
from deployd.errors import ConfigError

SITE = 'name = "shop"\n[environments.production]\nhosts = ["web1"]\n'


def site(text: str, name: str = "production"):
    return appfile.parse(SITE + text).environment(name).options.run


def test_domains_redirect_and_are_written_as_people_do():
    run = site('domains = ["Bücher.de", { name = "www.bücher.de", redirect = "bücher.de" }]\nhsts = true')

    assert run.domains == ("xn--bcher-kva.de",)
    assert run.redirects == (("www.xn--bcher-kva.de", "xn--bcher-kva.de"),)
    assert run.hsts == 365 * 86400
    assert appkeys.SITE.keys[0].kind.write(appkeys.SITE.keys[0].value(run)) == (
        '["bücher.de", { name = "www.bücher.de", redirect = "bücher.de" }]'
    )


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("", "off"),
        ('domains = ["shop.example", "www.shop.test", "intern"]', "off"),
        ('domains = ["203.0.113.7"]', "off"),
        ('domains = ["shop.example.com"]', "off"),
        ('domains = ["shop.test"]\nacme_directory = "https://acme.test:14000/dir"', "acme"),
        ('domains = ["shop.com"]', "acme"),
        ('domains = ["*.shop.com", "shop.com"]', "files"),
        ('domains = ["shop.com"]\nport = 8080', "off"),
        ('domains = ["shop.com"]\ntls = "off"', "off"),
        ('domains = ["shop.test"]\ntls = "internal"', "internal"),
        ('domains = ["shop.test"]\ntls = "acme"\nacme_directory = "https://acme.test:14000/dir"', "acme"),
        ('domains = ["shop.com"]\ntls = { cert = "a.pem", key = "b.pem" }', "files"),
    ],
)
def test_how_the_certificate_is_had(text, way):
    assert sites.way_of(site(text)) == way


def test_of_several_hosts_deployd_has_the_certificate():
    text = 'name = "shop"\n[environments.production]\nhosts = ["web1", "web2"]\ndomains = ["shop.com"]\n'

    run = appfile.parse(text).environment("production").options.run

    assert (sites.way_of(run), sites.is_central(run)) == ("files", True)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('domains = [{ name = "www.a.com", redirect = "a.com" }]', "none is the app's"),
        ('domains = ["a.com", "b.test"]', "no public authority certifies b.test"),
        ('domains = ["a.com"]\ntls = "acme"\nport = 8080', "https is on port 443"),
        ('tls = "internal"', "`tls` needs `domains`"),
        ('domains = [{ name = "a.com", redirect = "a.com" }]', "should be a list of domains"),
        ('domains = ["a.com", { name = "a.com", redirect = "b.com" }]', "should be a list of domains"),
        ('domains = [{ name = "www.a.com", to = "a.com" }]', "should be a list of domains"),
        ('domains = ["xn--a..com"]', "should be a list of domains"),
        ('domains = ["a.com"]\ntls = { cert = "a.pem" }', 'should be "acme", "internal", "off", or'),
        ('domains = ["a.com"]\nacme_directory = "http://a.com"', "begins with"),
        ('domains = ["a.com"]\nacme_email = "a b"', "email"),
        ('domains = ["a.com"]\nhsts = 5', "duration"),
    ],
)
def test_sites_that_cannot_be(text, what):
    with pytest.raises(ConfigError) as raised:
        site(text)
    assert what in raised.value.what + (raised.value.details or "")


def test_files_are_named_from_the_app_folder(tmp_path):
    file = tmp_path / "deployd.toml"
    file.write_text(
        SITE + 'domains = ["a.com"]\ntls = { cert = "tls/a.pem", key = "/etc/a.key" }\nacme_ca_root = "r.pem"'
    )

    run = appfile.load(file).environment("production").options.run

    assert run.tls == (str(tmp_path / "tls/a.pem"), "/etc/a.key")
    assert run.acme_ca_root == str(tmp_path / "r.pem")


@pytest.mark.parametrize(
    ("pattern", "name", "good"),
    [
        ("a.com", "a.com", True), ("a.com", "A.com", True), ("*.a.com", "b.a.com", True), ("*.a.com", "*.a.com", True),
        ("*.a.com", "a.com", False), ("*.a.com", "c.b.a.com", False), ("b.a.com", "*.a.com", False),
    ],
)  # fmt: skip
def test_for_which_names_a_certificate_is_good(pattern, name, good):
    assert sites.covers(pattern, name) is good
    assert sites.uncovered([name], [pattern]) == (() if good else (name,))
