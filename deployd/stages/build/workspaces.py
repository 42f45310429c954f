"""The folder of a lock file and an app in it -> Workspace: which members the app is made of, and which it is not."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd.errors import BuildError
from deployd.stages.build import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NEVER = {"node_modules", ".git"}
_CODE = {
    ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".json", ".css", ".scss", ".sass", ".less", ".vue",
    ".svelte", ".astro", ".mdx", ".md",
}  # fmt: skip
_LARGEST_CODE = 2_000_000
_QUOTED = re.compile(r"""["'`(]([@.\w][^"'`()\s]{0,200})["'`)]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One package of a workspace. `folder` is relative to the workspace's root, with forward slashes."""

    folder: str
    name: str | None
    package: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """An app among its neighbours. `needed` are the members that it depends on, each after those it needs itself."""

    root: Path
    app: Member
    needed: tuple[Member, ...]
    others: tuple[Member, ...]


def find(root: Path, *, app_dir: Path) -> Workspace | None:
    """The workspace at `root` (where the lock file lies) if the app is a member of it; raises BuildError."""
    known = {member.folder: member for member in members(root)}
    app = known.get(app_dir.relative_to(root).as_posix())
    if app is None:
        return None
    by_name = {member.name: member for member in known.values() if member.name}
    needed: dict[str, Member] = {}
    top = manifest.read(root) if (root / "package.json").is_file() else {}
    for first in (app, Member(folder=".", name=None, package=top)):
        _collect(first, known, by_name, root=root, into=needed, on_way=(app.folder,))
    while found := _mentioned(root, (app, *needed.values()), known):
        for member in found:
            _collect(member, known, by_name, root=root, into=needed, on_way=(app.folder,))
            needed[member.folder] = member
    needed.pop(app.folder, None)
    others = tuple(member for place, member in sorted(known.items()) if place not in needed and member is not app)
    return Workspace(root=root, app=app, needed=tuple(needed.values()), others=others)


def has_members(root: Path) -> bool:
    """Whether a lock file's folder is the root of a workspace with at least one package."""
    return next(members(root), None) is not None


def unbuilt(workspace: Workspace) -> tuple[Member, ...]:
    """The needed members with a build script whose own entry file is not in the repository: they are built first."""
    return tuple(
        member
        for member in workspace.needed
        if "build" in manifest.scripts(member.package)
        and not _has_entry(workspace.root / member.folder, member.package)
    )


def files(top: Path, *, without: tuple[Path, ...] = (), keep: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file and link below `top` in a steady order, but for those in `without` that are not in `keep`."""
    left_out, kept = {*map(str, without)}, {*map(str, keep)}
    above = {str(parent) for path in keep for parent in path.parents}

    def inside(folder: str, *, out: bool) -> Iterator[Path]:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name == ".git":
                continue
            if entry.is_dir(follow_symlinks=False):
                hidden = (out or entry.path in left_out) and entry.path not in kept
                if not hidden or entry.path in above:
                    yield from inside(entry.path, out=hidden)
            elif not out:
                yield Path(entry.path)

    yield from inside(str(top), out=False)


def members(root: Path) -> Iterator[Member]:
    """The packages of the workspace whose lock file lies in `root`; none where there is no workspace."""
    patterns = _patterns(root)
    found: dict[str, Path] = {}
    for pattern in patterns:
        taken = pattern.removeprefix("!")
        places = {path.parent.relative_to(root).as_posix(): path.parent for path in _matches(root, taken)}
        if pattern.startswith("!"):
            found = {name: path for name, path in found.items() if name not in places}
        else:
            found |= places
    for name, path in sorted(found.items()):
        if name == ".":
            continue
        package = manifest.read(path)
        called = package.get("name")
        yield Member(folder=name, name=called if isinstance(called, str) else None, package=package)


def _patterns(root: Path) -> list[str]:
    listing = root / "pnpm-workspace.yaml"
    if listing.is_file() and (root / "pnpm-lock.yaml").is_file():
        return _yaml_list(listing.read_text(errors="replace"), key="packages")
    if not (root / "package.json").is_file():
        return []
    named = manifest.read(root).get("workspaces")
    if isinstance(named, dict):
        named = named.get("packages")
    return [str(pattern) for pattern in named] if isinstance(named, list) else []


def _yaml_list(text: str, *, key: str) -> list[str]:
    """The plain texts of a top-level list: `key: [a, b]`, or one `- a` a line."""
    found: list[str] = []
    reading = False
    for line in text.splitlines():
        bare = re.sub(r"(?:^|\s)#.*$", "", line).rstrip()
        if not bare:
            continue
        inline = re.fullmatch(rf"{key}\s*:\s*\[(.*)\]", bare)
        if inline:
            return [word.strip().strip("\"'") for word in inline[1].split(",") if word.strip()]
        if re.fullmatch(rf"{key}\s*:", bare):
            reading = True
        elif reading and (item := re.fullmatch(r"\s*-\s+(.+)", bare)):
            found.append(item[1].strip().strip("\"'"))
        elif not bare.startswith((" ", "-")):
            reading = False
    return found


def _matches(root: Path, pattern: str) -> Iterator[Path]:
    for plain in _unbraced(pattern.removeprefix("./").strip("/")):
        if not plain or plain.startswith(("/", "..")):
            continue
        try:
            yield from (
                path
                for path in root.glob(f"{plain}/package.json")
                if not _NEVER.intersection(path.relative_to(root).parts) and path.is_file()
            )
        except (ValueError, NotImplementedError, RuntimeError, OSError) as error:
            raise BuildError(
                f"the workspace's pattern {pattern!r} cannot be followed: {error}",
                code="workspace-invalid",
                fix="correct the list of the workspace's packages; a link that leads to itself is in the way of `**`",
            ) from error


def _unbraced(pattern: str) -> list[str]:
    match = re.search(r"\{([^{}]*)\}", pattern)
    if not match:
        return [pattern]
    choices = (pattern[: match.start()] + one + pattern[match.end() :] for one in match[1].split(","))
    return list(itertools.chain.from_iterable(map(_unbraced, choices)))


def _collect(
    member: Member,
    members: Mapping[str, Member],
    by_name: Mapping[str, Member],
    *,
    root: Path,
    into: dict[str, Member],
    on_way: tuple[str, ...],
) -> None:
    for name, wish in manifest.needs(member.package).items():
        path = re.match(r"(?:file|link|portal):(.*)", wish)
        place = os.path.normpath(os.path.join(member.folder, path[1])) if path else ""  # noqa: PTH118 - text
        found = members.get(place) or by_name.get(name)
        if found is None or found.folder in into or found.folder in on_way:
            continue
        _collect(found, members, by_name, root=root, into=into, on_way=(*on_way, found.folder))
        into[found.folder] = found


def _mentioned(root: Path, taken: tuple[Member, ...], members: Mapping[str, Member]) -> list[Member]:
    """Members that no package.json names, but files of the taken ones do: by name, or by a path to them."""
    have = {member.folder for member in taken}
    rest = {place: member for place, member in members.items() if place not in have}
    if not rest:
        return []
    by_name = {member.name: member for member in rest.values() if member.name}
    found: dict[str, Member] = {}
    for member in taken:
        top = root / member.folder
        inner = tuple(root / place for place in members if place.startswith(f"{member.folder}/"))
        for path in files(top, without=inner):
            if path.suffix not in _CODE or path.is_symlink() or path.stat().st_size > _LARGEST_CODE:
                continue
            if "node_modules" in path.parts or path.name == "package.json":
                continue
            here = path.parent.relative_to(root).as_posix()
            for word in _QUOTED.findall(path.read_text(errors="replace")):
                other = _named(word, here=here, rest=rest, by_name=by_name)
                if other:
                    found[other.folder] = other
    return list(found.values())


def _named(word: str, *, here: str, rest: Mapping[str, Member], by_name: Mapping[str, Member]) -> Member | None:
    if word.startswith("."):
        place = os.path.normpath(os.path.join(here, word))  # noqa: PTH118 - text
        return next((member for folder, member in rest.items() if f"{place}/".startswith(f"{folder}/")), None)
    parts = word.split("/")
    # a bare word such as "web" is no import of the member `web` unless it is one: too many words would be names
    name = "/".join(parts[:2]) if word.startswith("@") else parts[0]
    return by_name.get(name)


def _has_entry(folder: Path, package: dict[str, Any]) -> bool:
    """Whether all files that `main`, `module`, `types` and `exports` name are there."""
    named = [value for key in ("main", "module", "types") if isinstance(value := package.get(key), str)]
    named += list(_exported(package.get("exports")))
    endings = ("", ".js", ".ts", ".json", "/index.js")
    return all(any((folder / f"{word}{ending}").exists() for ending in endings) for word in named if "*" not in word)


def _exported(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _exported(inner)
