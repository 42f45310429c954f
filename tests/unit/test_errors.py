"""Every error: unique code, an exit code of the documented set, survives pickling."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from deployd import errors
from deployd.errors import DeploydError

ROOT = Path(__file__).parents[2]


def classes() -> list[type[DeploydError]]:
    """Every error class there is."""
    found = [DeploydError]
    for cls in found:
        found += [sub for sub in cls.__subclasses__() if sub not in found]
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


def codes_in_the_code() -> set[str]:
    """Every code that is written in the sources, the host helper included."""
    sources = [*sorted((ROOT / "deployd").rglob("*.py")), ROOT / "playbooks" / "files" / "deployd-host"]
    text = "\n".join(path.read_text() for path in sources)
    return set(re.findall(r"""(?:\bcode=|default_code = |Refused\(\s*)["']([a-z]+(?:-[a-z]+)+)["']""", text))


def test_every_code_is_in_the_docs() -> None:
    documented = set(re.findall(r"^### `([a-z-]+)`", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE))

    assert codes_in_the_code() - documented == set()
