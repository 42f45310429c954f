"""Globs -> what they match, by picomatch itself: its rules for dots, braces, extglobs and negation are its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployd.stages.trace import programs

if TYPE_CHECKING:
    import threading
    from pathlib import Path


@dataclass(slots=True)
class Questions:
    """What is asked of picomatch, gathered so that Node.js starts once; `answer` then gives each by its number.

    `match` looks a set of texts over; `walk` looks for files below a folder.
    """

    sets: dict[str, list[str]] = field(default_factory=dict)
    matches: list[dict[str, Any]] = field(default_factory=list)
    walks: list[dict[str, str]] = field(default_factory=list)

    def match(self, glob: str, *, among: str, contains: bool = False) -> int:
        """Ask which texts of a set a glob matches. `contains` lets it match a part, as Next.js does for routes."""
        options = {"dot": True, "contains": True} if contains else {}
        self.matches.append({"glob": glob, "set": among, "options": options})
        return len(self.matches) - 1

    def walk(self, glob: str, *, folder: Path) -> int:
        """Ask for the files (not folders) that a glob matches below a folder; names with dots count."""
        self.walks.append({"dir": str(folder), "glob": glob})
        return len(self.walks) - 1

    def answer(self, *, picomatch: Path, root: Path, cancel: threading.Event | None = None) -> Answers:
        """Ask, about files below `root`; raises CommandError."""
        job = {"picomatch": str(picomatch), "sets": self.sets, "match": self.matches, "walk": self.walks}
        told = programs.run("globs", job, root=root, reads=(picomatch,), cancel=cancel)
        return Answers(
            match=[
                {self.sets[asked["set"]][index] for index in found}
                for asked, found in zip(self.matches, told["match"], strict=True)
            ],
            walk=[[os.fsdecode(os.fsencode(path)) for path in found] for found in told["walk"]],
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """The texts that each `match` found, and the paths (relative to the folder) that each `walk` found."""

    match: list[set[str]]
    walk: list[list[str]]
