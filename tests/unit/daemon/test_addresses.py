"""Where a pull request's comment leads."""

from __future__ import annotations

import pytest

from deployd import appfile
from deployd.daemon import previews
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.options import Options, Run
from deployd.rollouts.wishes import ReleaseWish, wish_to_json

R2 = "20261121-101530-3fa9c01-k2x7"


def wish(**run):
    return wish_to_json(
        ReleaseWish(
            app=AppName("shop"), environment=EnvironmentName("preview"), source=None, hosts=(HostName("web1"),),
            options=Options(run=Run(**run)),
        )
    )  # fmt: skip


def test_the_environments_own_domain_comes_before_the_daemons() -> None:
    daemons = {"preview_domain": "preview.daemon.example"}
    own = wish(preview_domain="preview.test")
    assert previews.address(daemons, "shop", R2, wish=own) == f"http://{R2}.shop.preview.test"
    secure = wish(preview_domain="preview.shop.com", domains=("shop.com",))
    assert previews.address({}, "shop", R2, wish=secure) == f"https://{R2}.shop.preview.shop.com"
    assert previews.address(daemons, "shop", R2, wish=wish()) == f"https://{R2}.shop.preview.daemon.example"
    assert previews.address({}, "shop", R2, wish=wish()) is None
    assert previews.address({}, "shop", None, wish=own) is None


@pytest.mark.parametrize(("environment", "own"), [("preview", ""), ("fork", ""), ("preview", "own.test")])
def test_hosts_are_told_the_daemons_domain_where_the_app_names_none(environment, own) -> None:
    """Otherwise its links lead to names that no host knows, and a fork's preview wants the port that `preview` has."""
    named = f'preview_domain = "{own}"\n' if own else ""
    file = appfile.parse(f'name = "shop"\n[environments.preview]\nhosts = ["web1"]\n{named}', path="deployd.toml")
    ask = Ask(
        kind="release", app=AppName("shop"), environment=EnvironmentName(environment), cause="pull_request", who="t"
    )
    chosen = previews.chosen(ask, file, file, domain="preview.daemon.example")
    assert chosen.options.run.preview_domain == (own or "preview.daemon.example")
