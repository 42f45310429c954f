"""Start scripts that run several commands: which one is the server, and what is told of the others."""

from __future__ import annotations

import pytest

from deployd.stages.build import firsts, startscript


@pytest.mark.parametrize(
    ("scripts", "file", "others"),
    [
        ({"start": "run-s build go", "build": "tsc", "go": "node dist/x.js"}, "dist/x.js", ("npm run build",)),
        ({"start": "npm-run-all -s 'migrate' go", "migrate": "knex migrate:latest", "go": "A=1 node x.js"}, "x.js", ("npm run migrate",)),
        ({"start": 'concurrently "node server.js" "node worker.js"'}, "server.js", ("node worker.js",)),
        ({"start": "concurrently -k -n web,css 'npm:go' 'tailwind -w'", "go": "node x.js"}, "x.js", ("tailwind -w",)),
        ({"start": "npx concurrently --kill-others npm:start:*", "start:css": "sass a", "start:api": "node x.js"}, "x.js", ("npm run start:css",)),
        ({"start": "NODE_ENV=production run-p go queue", "go": "node web.js", "queue": "node queue.js"}, "web.js", ("npm run queue",)),
        ({"start": "npm-run-all --parallel go css", "go": "node x.js", "css": "sass a"}, "x.js", ("npm run css",)),
    ],
)  # fmt: skip
def test_the_server_is_found_among_several(scripts: dict[str, str], file: str, others: tuple[str, ...]) -> None:
    found = startscript.find({"scripts": scripts})
    assert found is not None
    assert (found.file, found.before) == (file, others)


def test_what_runs_beside_the_server_is_told_and_no_watcher_is_a_build() -> None:
    package = {"scripts": {"start": 'concurrently "tsc -w" "node worker.js" "node server.js"'}}
    assert firsts.builds(package) == ()
    assert "`tsc -w && node worker.js` too" in str(firsts.warning(package, before=""))
    build = {"scripts": {"start": "run-s compile go", "compile": "tsc", "go": "node dist/x.js"}}
    assert firsts.builds(build) == ("npm run compile",)


def test_names_that_no_script_has_are_nothing() -> None:
    assert startscript.find({"scripts": {"start": "run-s gone a:*"}}) is None


@pytest.mark.parametrize(
    ("start", "file", "words", "others"),
    [
        ("node server.js | pino-pretty", "server.js", (), ()),
        ("node server.js --a > log.txt 2>&1", "server.js", ("--a",), ()),
        ("node server.js >> /dev/null 2> err", "server.js", (), ()),
        ("if-env NODE_ENV=production && npm run prod || npm run dev", "prod.js", (), ()),
        ("node $NODE_FLAGS server.js", "server.js", (), ()),
        ("node --run prod", "prod.js", (), ()),
        ("(cd api && node server.js)", "server.js", (), ()),
        ("echo starting && node server.js", "server.js", (), ()),
        ("[ -d dist ] || tsc; node dist/x.js", "dist/x.js", (), ("tsc",)),
        ("node a.js & node server.js", "server.js", (), ("node a.js",)),
        ("node server.js || exit 1", "server.js", (), ()),
    ],
)
def test_what_a_shell_makes_of_a_start_script(
    start: str, file: str, words: tuple[str, ...], others: tuple[str, ...]
) -> None:
    package = {"scripts": {"start": start, "prod": "node prod.js", "dev": "nodemon dev.js"}}
    found = startscript.find(package)
    assert found is not None
    assert (found.file, found.words, found.before) == (file, words, others)
    assert firsts.of_start(package) == others


@pytest.mark.parametrize("start", ["export A=1 B=2 && node x.js", "set A=1&& set B=2 && node x.js"])
def test_variables_that_a_start_script_exports_are_its_own(start: str) -> None:
    found = startscript.find({"scripts": {"start": start}})
    assert found is not None
    assert dict(found.variables) == {"A": "1", "B": "2"}
