"""Behind a load balancer: what it says of a visitor is believed, and nothing that the visitor said himself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.contract.fakehost import A
from tests.contract.test_visitors import maintenance
from tests.contract.test_web_app import app, echo

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost
    from tests.contract.realweb import RealWeb


def behind(host: FakeHost, web: RealWeb, *proxies: str) -> RealWeb:
    host.live(A, app("one"))
    echo(host, A)
    host.configure(instances=1, domains=[], port=web.port, proxies=list(proxies))
    web.start()
    return web


def seen(web: RealWeb, **headers: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(web.ask("/page", **headers).body)["headers"]
    return found


def test_a_trusted_proxy_is_believed_about_address_and_https(host: FakeHost, web: RealWeb) -> None:
    behind(host, web, "127.0.0.0/8", "2001:db8::/32")
    headers = seen(
        web, X_Forwarded_For="6.6.6.6, 198.51.100.7", X_Forwarded_Proto="https", X_Forwarded_Host="evil.test",
        X_Forwarded_Port="1", X_Forwarded_Prefix="/x", Forwarded="for=6.6.6.6", X_Real_Ip="6.6.6.6",
        X_Middleware_Subrequest="middleware", Host="shop.test",
    )  # fmt: skip
    assert headers["x-forwarded-for"] == "6.6.6.6, 198.51.100.7, 127.0.0.1"
    assert headers["x-real-ip"] == "198.51.100.7"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-host"]) == ("https", "shop.test")
    assert headers["x-forwarded-port"] == "443"  # of what the proxy says that it is, and the name has no other
    assert not {"forwarded", "x-forwarded-prefix", "x-middleware-subrequest"} & set(headers)


CDN = ("127.0.0.1/32", "173.245.48.0/20", "2400:cb00::/32")
CHAINS = {
    "198.51.100.7, 173.245.50.9": "198.51.100.7",
    "6.6.6.6, 198.51.100.7,173.245.50.9 , 173.245.63.1": "198.51.100.7",
    "6.6.6.6, 2001:db8::7, 2400:cb00:1::5": "2001:db8::7",
    "6.6.6.6, 198.51.100.7:51234, 173.245.50.9:80": "198.51.100.7",
    "[2001:db8::7]:51234, 173.245.50.9": "2001:db8::7",
    "6.6.6.6, 173.245.64.1": "173.245.64.1",  # that is no proxy: he says the rest himself
    "6.6.6.6, 2400:cb01::1": "2400:cb01::1",
    "198.51.100.7, unknown, 173.245.50.9": "173.245.50.9",
}


@pytest.mark.parametrize(("told", "visitor"), CHAINS.items())
def test_behind_a_cdn_and_a_load_balancer_the_visitor_is_who_asked_the_first(
    host: FakeHost, web: RealWeb, told: str, visitor: str
) -> None:
    behind(host, web, *CDN)
    assert seen(web, X_Forwarded_For=told)["x-real-ip"] == visitor
    maintenance(host, allow=["198.51.100.0/24", "2001:db8::/48"])
    assert web.ask("/page", X_Forwarded_For=told).status == (200 if visitor in {"198.51.100.7", "2001:db8::7"} else 503)


@pytest.mark.parametrize("told", ["", "unknown", "../../etc/passwd", "1.2.3.4/../..", "a b", "198.51.100.7,"])
def test_what_is_no_address_is_the_proxys_own(host: FakeHost, web: RealWeb, told: str) -> None:
    headers = seen(behind(host, web, "127.0.0.1"), X_Forwarded_For=told, X_Forwarded_Proto="javascript")
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"


def test_who_is_no_trusted_proxy_is_not_believed(host: FakeHost, web: RealWeb) -> None:
    headers = seen(behind(host, web, "10.0.0.0/8"), X_Forwarded_For="6.6.6.6", X_Forwarded_Proto="https")
    assert (headers["x-forwarded-for"], headers["x-real-ip"]) == ("127.0.0.1", "127.0.0.1")
    assert headers["x-forwarded-proto"] == "http"
    assert seen(web, X_Forwarded_Proto="https", Host="shop.test")["x-forwarded-port"] == "80"


def test_maintenance_lets_in_whom_the_proxy_names(host: FakeHost, web: RealWeb) -> None:
    behind(host, web, "127.0.0.1/32")
    maintenance(host, allow=["198.51.100.7"])
    assert web.ask("/page", X_Forwarded_For="6.6.6.6, 198.51.100.7").status == 200
    assert web.ask("/page", X_Forwarded_For="198.51.100.7, 6.6.6.6").status == 503
    assert web.ask("/page").status == 503


@pytest.mark.parametrize("wrong", ["10.0.0.0/33", "shop.example", "10.0.0.1 } respond", "", "1.2.3"])
def test_what_is_no_network_is_refused(host: FakeHost, web: RealWeb, wrong: str) -> None:
    document = {"instances": 1, "domains": [], "port": web.port, "proxies": [wrong]}
    host.refused("configure", "shop", "production", doc=document, code="bad-request")
