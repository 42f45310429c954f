"""ARCHITECTURE.md draws the house as it stands, and nothing in it speaks of where or with what it was made."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def tracked() -> list[str]:
    """Every file that git knows, or would take."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


def drawn() -> tuple[set[str], set[str]]:
    """The names in the tree of ARCHITECTURE.md: at the top, and in deployd/."""
    tree = (ROOT / "ARCHITECTURE.md").read_text().split("```")[1]
    top = set(re.findall(r"^([a-z][\w.-]*)/? ", tree + " ", re.MULTILINE)) | set(
        re.findall(r"^([a-z]+)/$", tree, re.MULTILINE)
    )
    return top, set(re.findall(r"^  ([a-z][\w.]*)/? ", tree, re.MULTILINE))


def test_the_tree_in_architecture_is_the_tree_on_disk() -> None:
    names = tracked()
    folders = {name.split("/")[0] for name in names if "/" in name and not name.startswith(".")} - {"docs"}
    modules = {name.split("/")[1] for name in names if name.startswith("deployd/")} - {"__init__.py"}
    top, inside = drawn()

    assert inside == modules
    assert top - {"deployd"} == folders - {"deployd"}


def test_every_link_in_the_docs_leads_somewhere() -> None:
    pages = [ROOT / name for name in tracked() if name.endswith(".md") and not name.startswith("examples/")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_no_lock_file_holds_an_address() -> None:
    locks = [ROOT / "requirements.lock", *ROOT.glob("examples/*/package-lock.json")]

    assert [lock.name for lock in locks if re.search(r'"resolved"|index-url|find-links', lock.read_text())] == []
