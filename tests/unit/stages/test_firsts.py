"""What start scripts run before the server: database commands go into deployd.toml, the others are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd import appfile
from deployd.cli import annotated
from deployd.stages.build import commands, explained, firsts, framework

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("scripts", "runs"),
    [
        ({"start": "prisma migrate deploy && node dist/main.js"}, "prisma migrate deploy"),
        ({"start": "npx prisma migrate deploy && next start"}, "prisma migrate deploy"),
        ({"start": "npm run db:deploy && node x.js", "db:deploy": "prisma migrate deploy"}, "npm run db:deploy"),
        ({"start": "npm run up && node x.js", "up": "knex migrate:latest"}, "npm run up"),
        ({"prestart": "knex migrate:latest", "start": "node x.js"}, "npm run prestart"),
        ({"start": "npm run build && node x.js", "build": "tsc"}, None),
        ({"start": "rm -rf tmp; node x.js"}, None),
        ({"start": "tsc && drizzle-kit migrate && node seed.js && node x.js"}, "drizzle-kit migrate && node seed.js"),
        ({"start": "npm run go", "go": "typeorm migration:run -d dist/data.js && node x"}, "typeorm migration:run -d dist/data.js"),
        ({"start": "node x.js"}, None),
        ({"dev": "prisma migrate dev && next dev"}, None),
    ],
)  # fmt: skip
def test_database_commands_of_a_start_script_are_to_run(scripts: dict[str, str], runs: str | None) -> None:
    assert firsts.to_run({"scripts": scripts}) == runs


def test_what_nothing_runs_is_told() -> None:
    package = {"scripts": {"start": "rm -rf tmp && prisma migrate deploy && node x.js"}}
    assert "`rm -rf tmp && prisma migrate deploy`" in str(firsts.warning(package, before=""))
    assert firsts.warning(package, before="prisma migrate deploy") is None
    assert "`prisma migrate deploy`" in str(firsts.warning(package, before="rm -rf tmp"))
    assert firsts.warning({"scripts": {"start": "node x.js"}}, before="") is None


@pytest.mark.parametrize(
    ("scripts", "built"),
    [
        ({"start": "npm run build:ts && fastify start dist/app.js", "build:ts": "tsc"}, ("npm", "run", "build:ts")),
        ({"start": "tsc -p . && node dist/x.js"}, ("npm", "exec", "--offline", "--", "tsc", "-p", ".")),
        ({"prestart": "npm run compile", "start": "node x.js", "compile": "tsc"}, ("npm", "run", "prestart")),
        ({"start": "yarn go && node x.js", "go": "rimraf dist && tsup"}, ("yarn", "go")),
        ({"start": "npm run build && node x.js", "build": "tsc"}, ("npm", "run", "build")),
        ({"start": "npm run clean && tsc && prisma migrate deploy && node x.js", "clean": "rm -r dist"},
         ("npm", "exec", "--offline", "--", "tsc")),
        ({"start": "npm run tidy && node x.js", "tidy": "rm -rf tmp"}, ()),
        ({"start": "node x.js", "heroku-postbuild": "tsc"}, ("npm", "run", "heroku-postbuild")),
    ],
)  # fmt: skip
def test_a_build_that_the_start_script_runs_first_is_the_build(scripts: dict[str, str], built: tuple[str, ...]) -> None:
    package = {"scripts": scripts, "dependencies": {"express": "5"}}
    found = framework.Detected(framework="node", version=None, name=None, health=None, package=package)
    assert commands.build(found, None, None) == built
    left = firsts.untold(package, before=firsts.to_run(package) or "")
    assert not [one for one in left if "tsc" in one or "build" in one]


def test_two_commands_that_build_run_one_after_the_other() -> None:
    package = {"scripts": {"start": "tsc && npm run bundle && node x.js", "bundle": "esbuild x"}}
    found = framework.Detected(framework="node", version=None, name=None, health=None, package=package)
    assert commands.build(found, None, None) == ("sh", "-c", "npm exec --offline -- tsc && npm run bundle")


def test_init_says_what_runs_by_a_package_command(tmp_path: Path) -> None:
    scripts = {"build:ts": "tsc", "start": "npm run build:ts && fastify start -l info dist/app.js"}
    package = {"main": "app.ts", "scripts": scripts, "dependencies": {"fastify": "5", "fastify-cli": "8"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    known = explained.explain(tmp_path, root=tmp_path)
    assert dict(known.found)["build"] == "npm run build:ts"
    assert dict(known.found)["runs"] == "fastify start -l info dist/app.js, as the start script says"
    assert not [one for one in known.assumed if "is not run on the servers" in one]


def test_init_says_which_hosts_angular_answers(tmp_path: Path) -> None:
    scripts = {"build": "ng build", "start": "ng serve", "serve:ssr:shop": "node dist/shop/server/server.mjs"}
    package = {"scripts": scripts, "dependencies": {"@angular/ssr": "22", "express": "5"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    known = explained.explain(tmp_path, root=tmp_path)
    assert dict(known.found)["runs"] == "dist/shop/server/server.mjs, as scripts.serve:ssr:shop says"
    assert [one for one in known.assumed if "NG_ALLOWED_HOSTS" in one]


def test_init_writes_it_down(tmp_path: Path) -> None:
    scripts = {"start": 'prisma migrate deploy --schema "db/my schema.prisma" && node server.js'}
    (tmp_path / "package.json").write_text(json.dumps({"name": "shop", "scripts": scripts}))
    (tmp_path / "server.js").write_text("")
    known = explained.explain(tmp_path, root=tmp_path)
    text = annotated.app_text(name="shop", before=known.before)
    read = appfile.parse(text).options.waves
    assert read.before == known.before == "prisma migrate deploy --schema 'db/my schema.prisma'"
    assert read.before_timeout == 600
    assert dict(known.found)["before"].startswith("prisma migrate deploy")
    assert not [one for one in known.assumed if "is not run on the servers" in one]
