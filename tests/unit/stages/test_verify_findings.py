"""What a trial saw -> findings: what is an error, what is told, and the line that mends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from deployd import appfile
from deployd.domain.artifact import FileEntry, Manifest, StaticSite
from deployd.domain.options import Verify
from deployd.stages.verify import Checkout, Finding, findings, images, refusal, verify
from deployd.stages.verify.routes import Question
from deployd.stages.verify.server import ROOT, Answer

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def answer(path: str, status: int | None = 200, route: str | None = None, **more: Any) -> Answer:
    return Answer(question=Question(path=path, route=route or path), status=status, seconds=0.1, **more)


def judged(
    *events: dict[str, Any],
    checkout: Checkout | None = None,
    output: str = "",
    answers: tuple[Answer, ...] = (),
    ended: bool = False,
    foreign: bool = False,
) -> tuple[Finding, ...]:
    seen = findings.Seen(events=events, output=output, answers=answers, ended=ended)
    return findings.judge(seen, checkout=checkout, written=[".next/cache"], built=".next", foreign=foreign)


def file(path: str, call: str = "readFile", url: str | None = None) -> dict[str, Any]:
    return {"kind": "file", "call": call, "path": f"{ROOT}/{path}", "url": url}


def module(request: str, importer: str | None = None, url: str | None = None) -> dict[str, Any]:
    return {"kind": "module", "request": request, "from": f"{ROOT}/{importer}" if importer else None, "url": url}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    write(
        tmp_path,
        **{
            "data/x.json": "{}",
            "node_modules/pg/package.json": json.dumps({"dependencies": {"pg-types": "2"}}),
            "node_modules/pg-types/package.json": "{}",
            "app/[slug]/text.md": "",
            "keys/jwt.pem": "",
            ".env": "",
            ".next/server/app/x.js": "",
            ".next/cache/y": "",
        },
    )
    return Checkout(root=tmp_path)


def test_code_that_turbopack_bundled_is_said_to_look_nowhere(checkout: Checkout) -> None:
    event = {"kind": "file", "call": "readFileSync", "path": "/ROOT/data/x.json", "url": "/api"}
    (one,) = judged(event, checkout=checkout, answers=(answer("/api", 500),))
    assert not one.error
    assert one.include is None
    assert "data/x.json is looked for in /ROOT" in one.what
    assert "(/api)" in one.what
    assert "process.cwd()" in one.fix
    assert judged(event | {"path": "/ROOT/data/none.json"}, checkout=checkout) == ()


def test_a_folder_that_the_server_makes_for_itself_is_no_missing_file(tmp_path: Path) -> None:
    checkout = Checkout(root=write(tmp_path, **{"uploads/.gitkeep": "", "api/logs/old.log": ""}))
    said = (
        "Error: EROFS: read-only file system, mkdir 'uploads/'\n"
        f"Error: EROFS: read-only file system, open '{ROOT}/api/logs/a.log'\n"
        "Error: EROFS: read-only file system, open '/etc/x'\n"
    )
    looked = (file("uploads", "statSync"), file("api/logs/a.log", "open"))
    found = judged(*looked, checkout=checkout, output=said, ended=True)
    assert [(one.kind, one.error, one.include) for one in found] == [("write", True, None)] * 2
    assert "mkdir uploads" in found[0].what
    refused = refusal(found)
    assert refused is not None
    assert "os.tmpdir()" in refused.fix
    assert not any(one.error for one in judged(*looked, checkout=checkout, output=said, answers=(answer("/", 500),)))


def test_a_read_of_a_file_that_only_the_checkout_has_is_an_error_with_its_include_line(checkout: Checkout) -> None:
    (found,) = judged(file("data/x.json", url="/api/data"), checkout=checkout, answers=(answer("/api/data", 500),))

    assert (found.kind, found.error, found.include) == ("file", True, ("/api/data", ("data/x.json",)))
    assert 'include = { "/api/data" = ["data/x.json"] }' in found.fix


def test_a_read_that_the_app_survives_is_an_error_too(checkout: Checkout) -> None:
    (found,) = judged(file("data/x.json", url="/"), checkout=checkout, answers=(answer("/"),))
    assert found.error


@pytest.mark.parametrize(("status", "error"), [(200, False), (500, True)])
def test_a_manifest_of_next_is_an_error_only_where_a_request_failed(
    checkout: Checkout, status: int, *, error: bool
) -> None:
    write(checkout.root, **{".next/server/hints.json": "{}"})
    (found,) = judged(file(".next/server/hints.json", url="/"), checkout=checkout, answers=(answer("/", status),))
    assert found.error is error


def test_only_looking_whether_a_file_is_there_is_told(checkout: Checkout) -> None:
    (found,) = judged(file("data/x.json", "existsSync", url="/"), checkout=checkout, answers=(answer("/"),))

    assert not found.error
    assert "is looked for" in found.what
    assert found.include


def test_looking_becomes_an_error_when_the_answer_is_one(checkout: Checkout) -> None:
    (found,) = judged(file("data/x.json", "statSync", url="/"), checkout=checkout, answers=(answer("/", 500),))
    assert found.error


@pytest.mark.parametrize("path", ["data/none.json", ".env", ".next/cache/y", "tsconfig.json", "data/x.json.map"])
def test_what_the_checkout_lacks_or_is_meant_to_stay_behind_is_no_finding(checkout: Checkout, path: str) -> None:
    write(checkout.root, **{"tsconfig.json": "", "data/x.json.map": ""})
    assert judged(file(path), checkout=checkout) == ()


def test_a_key_file_is_not_to_be_included_but_kept_in_a_variable(checkout: Checkout) -> None:
    (found,) = judged(file("keys/jwt.pem"), checkout=checkout)

    assert found.error
    assert found.include is None
    assert "deployd env set" in found.fix


def test_a_path_into_the_folder_of_the_build_is_named_as_that(checkout: Checkout) -> None:
    event = {"kind": "file", "call": "open", "path": f"{checkout.root}/data/x.json", "url": None}
    (found,) = judged(event, checkout=checkout)

    assert "process.cwd()" in found.fix
    assert found.include is None


def test_a_file_that_two_routes_read_is_included_for_all(checkout: Checkout) -> None:
    (found,) = judged(
        file("data/x.json", url="/a"), file("data/x.json", url="/b"),
        checkout=checkout, answers=(answer("/a"), answer("/b")),
    )  # fmt: skip
    assert found.include == ("/*", ("data/x.json",))


def test_brackets_in_paths_and_routes_do_not_become_globs(checkout: Checkout) -> None:
    (found,) = judged(
        file("app/[slug]/text.md", url="/deployd-verify"), checkout=checkout,
        answers=(answer("/deployd-verify", route="/[slug]"),),
    )  # fmt: skip
    assert found.include == ("/?slug?", ("app/?slug?/text.md",))


def test_a_module_that_is_named_in_the_output_is_an_error_and_brings_what_it_needs(checkout: Checkout) -> None:
    (found,) = judged(
        module("pg", ".next/server/app/x.js"), checkout=checkout, ended=True, output="Error: Cannot find module 'pg'\n"
    )
    assert found.error
    assert found.include == ("/*", ("node_modules/pg/**", "node_modules/pg-types/**"))


def test_an_import_is_known_from_the_output_alone(checkout: Checkout) -> None:
    said = f"Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'pg' imported from {ROOT}/server.mjs"
    (found,) = judged(checkout=checkout, output=said, ended=True)

    assert found.what == "node_modules/pg is not in the artifact, and server.mjs needs it"


def test_a_module_that_nobody_has_names_package_json(checkout: Checkout) -> None:
    (found,) = judged(module("left-pad", "server.js"), checkout=checkout, output="Cannot find module 'left-pad'")

    assert found.error
    assert "add it to package.json" in found.fix
    assert found.include is None


@pytest.mark.parametrize(("place", "at"), [("", "package.json"), ("apps/web", "apps/web/package.json")])
def test_a_package_that_is_named_and_not_installed_is_to_be_brought_along(tmp_path: Path, place: str, at: str) -> None:
    checkout = Checkout(root=write(tmp_path, **{at: json.dumps({"dependencies": {"@acme/db": "1"}})}), place=place)
    (found,) = judged(
        module("@acme/db/x", "server.js"), checkout=checkout, output="Cannot find module '@acme/db/x'", ended=True
    )

    assert "not installed in that folder" in found.fix
    assert "node_modules" in found.fix


@pytest.mark.parametrize("importer", ["node_modules/next/dist/server/x.js", "node_modules/pg/lib/x.js"])
def test_what_packages_can_do_without_is_no_finding(checkout: Checkout, importer: str) -> None:
    assert judged(module("pg-types", importer, url="/"), checkout=checkout, answers=(answer("/"),)) == ()


def test_an_app_that_does_without_a_module_is_told(checkout: Checkout) -> None:
    (found,) = judged(module("pg", "server.js", url="/"), checkout=checkout, answers=(answer("/"),))
    assert (found.error, found.include) == (False, ("/", ("node_modules/pg/**", "node_modules/pg-types/**")))


@pytest.mark.parametrize("importer", [".next/server/chunks/a.js", "node_modules/mongodb/lib/deps.js"])
@pytest.mark.parametrize(("name", "count"), [("pg", 1), ("kerberos", 0)])
def test_a_page_that_fails_for_want_of_a_database_blames_no_optional_module(
    checkout: Checkout, importer: str, name: str, count: int
) -> None:
    """Packages such as mongodb and js-yaml look for modules that they can do without; nobody names those."""
    found = judged(
        module(name, importer, url="/users"), checkout=checkout, answers=(answer("/users", 500),), output="ECONNREFUSED"
    )
    assert [one.error for one in found] == [False] * count


def test_a_library_that_a_native_module_needs_is_found_in_the_checkout(checkout: Checkout) -> None:
    write(checkout.root, **{"node_modules/@img/libvips/lib/libvips-cpp.so.8.18.7": ""})
    message = "libvips-cpp.so.8.18.7: cannot open shared object file: No such file or directory"
    event = {"kind": "dlopen", "path": f"{ROOT}/node_modules/@img/sharp/lib/a.node", "message": message, "url": None}

    (found,) = judged(event, checkout=checkout)
    assert found.include == ("/*", ("node_modules/@img/libvips/lib/libvips-cpp.so.8.18.7",))
    assert judged(event, checkout=checkout, foreign=True) == ()


def test_a_native_module_for_another_node_says_so(checkout: Checkout) -> None:
    message = "was compiled against a different Node.js version using\nNODE_MODULE_VERSION 115."
    event = {"kind": "dlopen", "path": f"{ROOT}/node_modules/db/a.node", "message": message, "url": None}
    (found,) = judged(event, checkout=checkout, output=message)
    assert "another Node.js" in found.fix
    assert "platform" not in found.fix


def test_the_line_is_toml_that_deployd_reads(checkout: Checkout) -> None:
    found = judged(
        file("data/x.json", url="/api/data"), file("app/[slug]/text.md"), checkout=checkout,
        answers=(answer("/api/data"),),
    )  # fmt: skip
    error = refusal(found)
    assert error is not None
    assert error.code == "artifact-incomplete"
    line = error.fix.partition("below [trace]: ")[2].partition("; or")[0]
    app = appfile.parse(f'name = "shop"\n[trace]\n{line}\n')

    assert dict(app.options.trace.include) == {"/api/data": ("data/x.json",), "/*": ("app/?slug?/text.md",)}
    mode = error.fix.partition("below [verify]: ")[2]
    assert appfile.parse(f'name = "shop"\n[verify]\n{mode}\n').options.verify.mode == "warn"


def test_nothing_but_warnings_is_no_refusal(checkout: Checkout) -> None:
    assert refusal(judged(file("data/x.json", "existsSync"), checkout=checkout)) is None


def test_half_a_line_of_a_killed_server_is_left_out() -> None:
    assert findings.events_of(['{"kind": "file"}', '{"kind": "mod', "3"]) == [{"kind": "file"}]


# Where the artifact's root is in the checkout


def manifest(*paths: str, entry: str = "server.js") -> Manifest:
    files = tuple(FileEntry(path=path, mode=0o644, size=1, sha256="0" * 64) for path in sorted({entry, *paths}))
    return Manifest(entry=entry, files=files)


def test_the_artifacts_root_is_the_app_or_the_workspace_above_it(tmp_path: Path) -> None:
    app = write(tmp_path, **{"apps/web/package.json": "{}"}) / "apps" / "web"

    assert Checkout.of(manifest("package.json"), app_dir=app, top=tmp_path) == Checkout(root=app)
    nested = manifest("apps/web/package.json", entry="apps/web/server.js")
    assert Checkout.of(nested, app_dir=app, top=tmp_path) == Checkout(root=tmp_path, place="apps/web")


def test_globs_are_given_from_the_apps_folder(tmp_path: Path) -> None:
    write(tmp_path, **{"apps/web/data/x": "", "node_modules/pg/package.json": "{}"})
    checkout = Checkout(root=tmp_path, place="apps/web")

    assert checkout.globs("apps/web/data/x") == ("data/x",)
    assert checkout.module("pg", importer="apps/web/.next/server/x.js") == "node_modules/pg"
    assert checkout.globs("node_modules/pg") == ("../../node_modules/pg/**",)


def test_a_link_brings_its_target_along(tmp_path: Path) -> None:
    write(tmp_path, **{"node_modules/pg/package.json": "{}"})
    (tmp_path / ".next" / "node_modules").mkdir(parents=True)
    (tmp_path / ".next/node_modules/pg-1a2b").symlink_to("../../node_modules/pg")
    checkout = Checkout(root=tmp_path)

    assert checkout.module("pg-1a2b", importer=".next/server/x.js") == ".next/node_modules/pg-1a2b"
    assert checkout.globs(".next/node_modules/pg-1a2b") == (".next/node_modules/pg-1a2b", "node_modules/pg/**")


# Images


def test_the_first_image_that_can_be_made_smaller_is_asked_for() -> None:
    page = (
        '<img src="/_next/image?url=%2Fa.svg&amp;w=64&amp;q=75"><img src="/_next/image?url=%2Fb.png&amp;w=64&amp;q=75">'
    )
    question = images.question_of([answer("/", page=page)])

    assert question is not None
    assert (question.path, question.accept) == ("/_next/image?url=%2Fb.png&w=64&q=75", "image/avif,image/webp")
    assert (
        images.question_of([answer("/", page='<img src="/_next/image?url=https%3A%2F%2Fx.test%2Fb.png&amp;w=64">')])
        is None
    )


def test_images_that_stay_as_they_are_name_sharp(tmp_path: Path) -> None:
    original = answer("/_next/image", content_type="image/png")
    assert images.judge(answer("/_next/image", content_type="image/webp"), None, has_sharp=False) is None

    without = images.judge(original, Checkout(root=tmp_path), has_sharp=False)
    assert without is not None
    assert (without.error, without.fix) == (False, "npm install sharp, and commit the lock file")

    write(tmp_path, **{"node_modules/sharp/package.json": "{}"})
    missing = images.judge(original, Checkout(root=tmp_path), has_sharp=False)
    assert missing is not None
    assert (missing.error, missing.include) == (True, ("/*", ("node_modules/sharp/**",)))


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (("site/index.html", "site/a.html"), 0),
        (("site/b/c/index.html", "site/b/c/assets/x.js"), 0),
        (("site/about/index.html", "site/x.js"), 1),
        ((), 1),
    ],
)
def test_a_site_without_a_first_page_is_told_of_unless_it_stands_below_a_path(
    tmp_path: Path, paths: tuple[str, ...], told: int
) -> None:
    files = tuple(FileEntry(path=path, mode=0o644, size=0, sha256="0" * 64) for path in paths)
    manifest = Manifest(entry="", files=files, static=StaticSite(folder="site"))
    found = verify(manifest, artifacts=tmp_path, folder=tmp_path, node=tmp_path, options=Verify())
    assert [one.what for one in found.findings] == ["the site has no site/index.html: / is answered with 404"] * told
