"""Verbs as argv, by equality."""

from __future__ import annotations

import json

import pytest

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RuntimeName
from deployd.domain.options import Probe, Run
from deployd.hosts import serve, verbs

APP = AppName.parse("shop")
ENVIRONMENT = EnvironmentName.parse("production")
RELEASE = ReleaseId.parse("20261121-101530-3fa9c01-aaaa")
OLD = ReleaseId.parse("20261120-101530-3fa9c01-aaaa")
RUNTIME = RuntimeName.parse("node-22.22.3-linux-x64-glibc")
PLACE = ("shop", "production")


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (verbs.facts(), ("facts",)),
        (verbs.runtime_begin(RUNTIME), ("runtime-begin", RUNTIME)),
        (verbs.runtime_seal(RUNTIME), ("runtime-seal", RUNTIME)),
        (verbs.hold(APP, ENVIRONMENT), ("hold", *PLACE)),
        (verbs.hold(APP, ENVIRONMENT, wait=5), ("hold", *PLACE, "--wait", "5")),
        (verbs.holder(APP, ENVIRONMENT), ("holder", *PLACE)),
        (verbs.unlock(APP, ENVIRONMENT), ("unlock", *PLACE)),
        (verbs.configure(APP, ENVIRONMENT), ("configure", *PLACE)),
        (verbs.configure(APP, ENVIRONMENT, check=True), ("configure", *PLACE, "--check")),
        (verbs.begin(APP, ENVIRONMENT, RELEASE), ("begin", *PLACE, RELEASE)),
        (verbs.seal(APP, ENVIRONMENT, RELEASE), ("seal", *PLACE, RELEASE)),
        (verbs.env(APP, ENVIRONMENT, RELEASE), ("env", *PLACE, RELEASE)),
        (verbs.start(APP, ENVIRONMENT, RELEASE), ("start", *PLACE, RELEASE)),
        (verbs.probe(APP, ENVIRONMENT, RELEASE), ("probe", *PLACE, RELEASE)),
        (verbs.probe_web(APP, ENVIRONMENT, RELEASE), ("probe-web", *PLACE, RELEASE)),
        (
            verbs.flip(APP, ENVIRONMENT, RELEASE, expect=None, epoch=7),
            ("flip", *PLACE, RELEASE, "--expect", "none", "--epoch", "7"),
        ),
        (
            verbs.flip(APP, ENVIRONMENT, RELEASE, expect=OLD, epoch=7),
            ("flip", *PLACE, RELEASE, "--expect", OLD, "--epoch", "7"),
        ),
        (verbs.unflip(APP, ENVIRONMENT, to=OLD, epoch=7), ("unflip", *PLACE, "--to", OLD, "--epoch", "7")),
        (verbs.unflip(APP, ENVIRONMENT, to=None, epoch=7), ("unflip", *PLACE, "--to", "none", "--epoch", "7")),
        (verbs.stop(APP, ENVIRONMENT, RELEASE), ("stop", *PLACE, RELEASE)),
        (verbs.stop(APP, ENVIRONMENT, RELEASE, after=600), ("stop", *PLACE, RELEASE, "--after", "600")),
        (verbs.restart(APP, ENVIRONMENT), ("restart", *PLACE)),
        (verbs.status(APP, ENVIRONMENT), ("status", *PLACE)),
        (verbs.prune(APP, ENVIRONMENT), ("prune", *PLACE)),
        (verbs.discard(APP, ENVIRONMENT, RELEASE), ("discard", *PLACE, RELEASE)),
        (verbs.logs(APP, ENVIRONMENT), ("logs", *PLACE, "-n", "100")),
        (
            verbs.logs(APP, ENVIRONMENT, release=RELEASE, lines=None, since="1h", follow=True),
            ("logs", *PLACE, "--release", RELEASE, "--since", "1h", "-f"),
        ),
        (verbs.execute(APP, ENVIRONMENT, ["node", "-e", "1 + 1"]), ("exec", *PLACE, "--", "node", "-e", "1 + 1")),
        (
            verbs.execute(APP, ENVIRONMENT, ["true"], release=RELEASE, limit=600.0),
            ("exec", *PLACE, "--release", RELEASE, "--limit", "600", "--", "true"),
        ),
        (verbs.remove_app(APP, ENVIRONMENT), ("remove-app", *PLACE)),
    ],
)
def test_argv(made: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert made == wanted


def test_documents_have_what_the_options_say() -> None:
    assert verbs.run_document(Run(instances="cores", memory=1 << 30, domains=("a.test",), port=81)) == {
        "instances": "cores",
        "memory": 1 << 30,
        "drain": 30.0,
        "domains": ["a.test"],
        "port": 81,
    }
    assert verbs.run_document(Run(body_limit=1 << 20))["body"] == 1 << 20
    document = verbs.probe_document(Probe(path="/health", status=(200,), warm=("/a",), host="a.test"))
    assert (document["path"], document["status"], document["warm"], document["host"]) == (
        "/health", [200], ["/a"], "a.test",
    )  # fmt: skip


def test_what_is_served() -> None:
    assert serve.can_serve(("flip", "a", "b"), None)
    assert serve.can_serve(("begin", "a", "b"), b"{}")
    assert not serve.can_serve(("begin", "a", "b"), b"\x1f\x8b...")
    for verb in ("hold", "logs", "exec", "serve"):
        assert not serve.can_serve((verb, "a", "b"), None)


def test_a_request_is_one_line() -> None:
    line = serve.request(("env", "shop"), json.dumps({"variables": {"A": "x\ny"}}).encode())
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"argv": ["env", "shop"], "stdin": {"variables": {"A": "x\ny"}}}
    assert json.loads(serve.request(("facts",), None)) == {"argv": ["facts"], "stdin": None}
