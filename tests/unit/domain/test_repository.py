"""Whose repository a delivery is of, by the address that the app is registered with."""

from __future__ import annotations

import pytest

from deployd.domain.repository import is_another

PAGE = "https://github.com/acme/api"


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:acme/api.git",
        "https://github.com/Acme/API",
        "https://github.com/acme/api.git/",
        "ssh://git@github.com/acme/api.git",
        "ssh://git@github.com:22/acme/api",
        "git@github-work:acme/shop.git",  # an alias of ssh: its name tells nothing
        "/srv/git/shop.git",
        "file:///srv/git/shop.git",
        "https://mirror.example/shop.git",
    ],
)
def test_what_may_be_the_apps_own_is_not_another(url):
    assert not is_another(url, name="acme/api", page=PAGE)


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:acme/shop.git",
        "https://github.com/acme/shop",
        "ssh://git@github.com/acme/my-api.git",
        "git@github.com:other/api.git",
        "github.com:acme/shop",
    ],
)
def test_another_one_on_the_same_forge_is(url):
    assert is_another(url, name="acme/api", page=PAGE)


def test_groups_of_groups_and_a_forge_below_a_path():
    page = "https://git.example/forge/team/web/shop"
    assert not is_another("https://git.example/forge/team/web/shop.git", name="team/web/shop", page=page)
    assert is_another("https://git.example/forge/team/web/api.git", name="team/web/shop", page=page)
    assert not is_another("https://git.example/x.git", name="team/web/shop", page=None)
