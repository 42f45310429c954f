"""A release and a path come in, the route that it belongs to goes out: of a few, whatever paths visitors make up.

The routes are those of Next.js's own list where the release has one. Elsewhere the first words of the path are taken,
with what looks like the name of one thing folded.
"""

from __future__ import annotations

from deployd_host.files import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from deployd_host.places import Place

OTHER = "(other)"
NOT_FOUND = "(not found)"
_LONGEST = 200
_WORDS = 3  # of a path that no list knows
_REMEMBERED = 4096
_MOST_PAGES = 5000
_HASHED = "/_next/static"
_IMAGE = "/_next/image"

_known: dict[str, Routes] = {}


class Routes:
    """The routes of one release."""

    def __init__(
        self,
        pages: Iterable[str] = (),
        *,
        base: str = "",
        locales: Iterable[str] = (),
        made_when_asked: Iterable[str] = (),
    ) -> None:
        self.base = base
        self.made_when_asked = frozenset(base + page for page in made_when_asked)
        self.locales = frozenset(locales)
        self.fixed: set[str] = set()
        self.tree: dict[str, dict[str, Any]] = {}
        self.remembered: dict[str, tuple[str, bool]] = {}
        self.is_empty = True
        for number, page in enumerate(pages):
            if number >= _MOST_PAGES:
                break
            self._add(page)

    def _add(self, page: str) -> None:
        if not page.startswith("/") or len(page) > _LONGEST:
            return
        self.is_empty = False
        if "[" not in page:
            self.fixed.add(page)
            return
        node = self.tree
        for word in page.split("/")[1:]:
            kind = "[[...]]" if word.startswith("[[...") else "[...]" if word.startswith("[...") else word
            kind = "[]" if kind == word and word.startswith("[") else kind
            node = node.setdefault(kind, {})
        node["="] = {"page": page}

    def first_of(self, path: str, route: str) -> str | None:
        """Of what the first answer by a new release is slow: the route, or each path of it that is made when it is
        asked for and then kept. None where that is not to be told from a path, as with images.
        """
        if route == _IMAGE:
            return None
        return path if route in self.made_when_asked else route

    def of(self, path: str) -> tuple[str, bool]:
        """The route of a path, and whether the release's own list has it."""
        found = self.remembered.get(path)
        if found is None:
            found = self._find(path)
            if len(self.remembered) >= _REMEMBERED:
                self.remembered.clear()
            self.remembered[path] = found
        return found

    def _find(self, path: str) -> tuple[str, bool]:
        inner = path[: _LONGEST * 4]
        if self.base:
            if inner != self.base and not inner.startswith(self.base + "/"):
                return folded(inner), False
            inner = inner[len(self.base) :] or "/"
        if inner.startswith(_HASHED + "/"):
            return _HASHED + "/*", True
        if inner == _IMAGE:
            return inner, True
        inner = _page_of_data(inner)
        words = [word for word in inner.split("/") if word]
        if words and words[0] in self.locales:
            words = words[1:]
        plain = "/" + "/".join(words)
        if plain in self.fixed:
            return self.base + plain if self.base else plain, True
        page = _walk(self.tree, words)
        return (self.base + page, True) if page else (folded(self.base + plain), False)


def _page_of_data(path: str) -> str:
    """The page of what Next.js's client asks for: `/_next/data/<build>/a.json` and `/a.rsc` are of `/a`."""
    if path.startswith("/_next/data/"):
        page = "/" + path[len("/_next/data/") :].partition("/")[2].removesuffix(".json")
        return "/" if page == "/index" else page
    path = path.partition(".segments/")[0]
    if path.endswith(".rsc"):
        page = path.removesuffix(".rsc")
        return "/" if page == "/index" else page
    return path


def _walk(node: Mapping[str, dict[str, Any]], words: list[str]) -> str | None:
    """The page of these words: a fixed word goes before `[x]`, and that before `[...x]`."""
    if not words:
        end = node.get("=") or node.get("[[...]]", {}).get("=")
        return str(end["page"]) if end else None
    for key in (words[0], "[]"):
        if key in node and key not in {"=", "[...]", "[[...]]"}:
            page = _walk(node[key], words[1:])
            if page:
                return page
    for key in ("[...]", "[[...]]"):
        end = node.get(key, {}).get("=")
        if end:
            return str(end["page"])
    return None


def folded(path: str) -> str:
    """The first words of a path; what names one thing of many becomes `[id]`, a file `*` and its ending."""
    words = [word for word in path.split("/") if word]
    shown = [_word(word, last=at == len(words) - 1) for at, word in enumerate(words[:_WORDS])]
    return ("/" + "/".join(shown) + ("/*" if len(words) > _WORDS else ""))[:_LONGEST]


def _word(word: str, *, last: bool) -> str:
    stem, dot, ending = word.rpartition(".")
    if last and dot and stem and ending.isalnum() and len(ending) < 12 and not ending.isdigit():
        return f"*.{ending}"
    digits = sum(letter.isdigit() for letter in word)
    bare = word.replace("-", "")
    is_hex = len(bare) >= 8 and digits and all(letter in "0123456789abcdefABCDEF" for letter in bare)
    is_one = (
        "@" in word
        or (digits and digits == len(word))
        or is_hex
        or len(word) > 40
        or (len(word) >= 12 and digits * 4 >= len(word))
    )
    return "[id]" if is_one else "".join(letter if letter.isprintable() else "?" for letter in word)


def routes_of(place: Place, release: str) -> Routes:
    """The routes of a kept release; one process reads them once."""
    key = place.release(release)
    if key not in _known:
        if len(_known) >= 32:
            _known.clear()
        _known[key] = _read(place, release)
    return _known[key]


def _read(place: Place, release: str) -> Routes:
    found = next_routes(place, release)
    if found is None:
        return Routes()
    pages = [
        str(one.get("page"))
        for kind in ("staticRoutes", "dynamicRoutes")
        for one in found.get(kind) or []
        if isinstance(one, dict)
    ]
    languages = found.get("i18n")
    locales = languages.get("locales") if isinstance(languages, dict) else None
    return Routes(
        pages,
        base=str(found.get("basePath") or ""),
        locales=[str(one) for one in locales] if isinstance(locales, list) else (),
        made_when_asked=_made_when_asked(place, release),
    )


def next_routes(place: Place, release: str) -> Mapping[str, Any] | None:
    """Next.js's own list of routes; None where the release has none."""
    return _next_file(place, release, "routes-manifest.json")


def _made_when_asked(place: Place, release: str) -> list[str]:
    """The pages that Next.js makes with a visitor's first request, and keeps."""
    found = (_next_file(place, release, "prerender-manifest.json") or {}).get("dynamicRoutes")
    return [str(page) for page in found][:_MOST_PAGES] if isinstance(found, dict) else []


def _next_file(place: Place, release: str, name: str) -> Mapping[str, Any] | None:
    manifest = read_json(f"{place.release(release)}/.deployd/manifest.json")
    served = manifest.get("assets") if isinstance(manifest, dict) else None
    if not isinstance(served, dict):
        return None
    bases = sorted((prefix for prefix in served if prefix.endswith(_HASHED)), key=len)
    if not bases:
        return None
    dist = str(served[bases[0]]).rpartition("/")[0]
    found = read_json(f"{place.release(release)}/{dist}/{name}")
    return found if isinstance(found, dict) else None
