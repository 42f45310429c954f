"""`deployd init` in apps of each kind: the file says what was found, and can be read again."""

from __future__ import annotations

import json
import re

import pytest

from deployd import appfile
from tests.support import sites


@pytest.mark.parametrize(
    ("site", "found"),
    [
        (sites.next_pages(), "Next.js 14.2.35"),
        (sites.express(), "Express 4.21.2: a Node.js server"),
        (sites.nest(), "Nest ^11: a Node.js server"),
        (sites.nuxt(), "Nuxt ^3.15"),
        (sites.astro(server=True), "Astro ^5"),
        (sites.sveltekit(), "SvelteKit ^2"),
        (sites.react_router(), "React Router ^7.1"),
        (sites.vite(), "Vite ^7: pages, served without a process"),
        (sites.plain(), "static files: pages, served without a process"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value) if isinstance(value, str) else "",
)
def test_what_was_found_is_in_the_file(deployd, tmp_path, monkeypatch, site, found):
    folder = site.write(tmp_path / "my-app")
    monkeypatch.chdir(folder)

    told = json.loads(deployd("init", "--hosts", "web1", "--json").out)

    assert told["framework"] == found
    text = (folder / "deployd.toml").read_text()
    assert f"# Made with {found}." in text
    assert appfile.parse(text).environment("production").hosts == ("web1",)


def test_where_nothing_is_found_the_file_is_written_and_says_what_to_do(deployd, tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    (folder / "apps" / "web").mkdir(parents=True)
    sites.next_pages().write(folder / "apps" / "web")
    (folder / "package.json").write_text(json.dumps({"name": "all", "workspaces": ["apps/*"]}))
    monkeypatch.chdir(folder)

    done = deployd("init", "--hosts", "web1")

    assert done.exit == 0
    assert "name the app's folder: apps/web" in done.err
    assert (folder / "deployd.toml").is_file()
