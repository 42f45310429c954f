"""Dotenv files: strict, nothing expanded, and what is written is read back."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployd.cli import dotenv

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ("# a comment\n\n  A = 1  \nexport B=2 # why", {"A": "1", "B": "2"}),
        ("A=a#b\nB=a #b\nC=#c\n", {"A": "a#b", "B": "a", "C": ""}),
        ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
        ("A='it # is $HOME \\n' # x", {"A": "it # is $HOME \\n"}),
        ('A="line 1\\nline 2 \\"quoted\\" \\$HOME \\\\"', {"A": 'line 1\nline 2 "quoted" $HOME \\'}),
        ("A=\"one\ntwo\"\nB='three\nfour'\n", {"A": "one\ntwo", "B": "three\nfour"}),
        ("A=$HOME ${X} `date`\r\nB=2\r\n", {"A": "$HOME ${X} `date`", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=postgres://u:p@db/x?a=b&c='d'", {"A": "postgres://u:p@db/x?a=b&c='d'"}),
        ("", {}),
    ],
)
def test_what_is_read(text, expected):
    assert dotenv.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("A=1\nB\n", "line 2 is not NAME=value"),
        ("A=1\n1B=2\n", "line 2 is not NAME=value"),
        ("A='open\nB=2\n", "line 1 opens a ' that is never closed"),
        ('\n\nA="open', 'line 3 opens a " that is never closed'),
        ("A='x' y\n", "line 1 has something after the closing '"),
        ('A="\\x41"', "line 1 has \\x in double quotes"),
        ("A=1\nA=2\n", "line 2 sets A again"),
        ("A=a\0b", "line 1: a value cannot hold a zero byte"),
    ],
)
def test_what_is_refused(text, complaint):
    with pytest.raises(ValueError) as caught:
        dotenv.parse(text)
    assert complaint in str(caught.value)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read_back(values):
    assert dotenv.parse(dotenv.write(values)) == values


@given(st.text(max_size=80))
def test_no_text_breaks_it(text):
    with contextlib.suppress(ValueError):
        assert all(dotenv.NAME.fullmatch(name) for name in dotenv.parse(text))
