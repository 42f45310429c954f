"""A push to another repository, of a webhook that a whole organisation has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deployd.daemon.hooks import asking, placing
from deployd.daemon.hooks.values import Change, Push, Repository
from deployd.domain.daemon import RegisteredApp
from deployd.domain.ids import AppName

SHOP = AppName("shop")


def ask_of(name):
    where = Repository(name=name, url=f"https://git.example/{name}")
    change = Change(kind="branch", name="main", before=None, after="b" * 40)
    push = Push(forge="github", delivery="d", repository=where, changes=(change,), who="github:anna")
    return asking.arrival(SHOP, push, origin="hook").asks[0]


@pytest.mark.parametrize(
    ("name", "there", "reason"),
    [
        ("acme/api", False, "it was pushed to acme/api, which is another repository"),
        ("acme/renamed-shop", True, "main is gone by now"),
        ("acme/shop", False, "main is gone by now"),
    ],
)
def test_a_push_to_another_repository_starts_nothing_unless_its_commit_is_here(name, there, reason):
    """A failed commit was released again by each push to any repository of the organisation."""
    app = RegisteredApp(name=SHOP, repository="git@git.example:acme/shop.git", subdir="", created="", who="ada")
    history = SimpleNamespace(has=lambda _: there, look_ahead=lambda *_: None, newest=lambda *_: None)
    assert placing.places(ask_of(name), app=app, history=history, store=None) == ((), reason)
