"""Every error: unique code, an exit code of the documented set, survives pickling."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployd import errors
from deployd.errors import DeploydError

ROOT = Path(__file__).parents[2]


def classes() -> list[type[DeploydError]]:
    """Every class of the tree (tests make some of their own, and the command line one for SIGTERM)."""
    found = [DeploydError]
    for cls in found:
        found += [sub for sub in cls.__subclasses__() if sub not in found and sub.__module__ == errors.__name__]
    return found


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_an_error_survives_pickling(cls: type[DeploydError]) -> None:
    error = cls("what", fix="do", host="web1", live="old", details="more", retryable=True)

    back = pickle.loads(pickle.dumps(error))

    assert type(back) is cls
    assert back.fields() == error.fields()
    assert str(back) == "what"


def test_default_codes_are_unique_and_kebab_case() -> None:
    codes = [cls.default_code for cls in classes()]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_exit_codes_are_the_documented_ones() -> None:
    assert {cls.exit_code for cls in classes()} <= {1, 2, 3, 4, 5, 6, 7, 130}


def test_every_class_is_drawn_in_the_tree() -> None:
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in classes())


def test_but_changes_only_what_it_names() -> None:
    error = errors.HostError("what", fix="do", host="web1")

    assert error.but(live="r1").fields() == error.fields() | {"live": "r1"}


def test_the_page_of_errors_is_fresh() -> None:
    """docs/errors.md has every code that the code raises, with what is said and what to do."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "error-docs", "--check"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_host_is_named_once() -> None:
    assert errors.on_host("web1", "it is full") == "web1: it is full"
    for what in ("web1: it is full", "web1 (192.0.2.1 port 22) does not answer"):
        assert errors.on_host("web1", what) == what
    assert errors.on_host("web1", "web10 is another").startswith("web1: web10")
