"""Deliveries of forges: signatures over the raw body, what is read of them, and that nothing else than our errors comes out."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployd.daemon.hooks import door, values
from deployd.daemon.hooks.values import Change, Ignored, Ping, PullRequest, Push, Repository
from deployd.domain.secret import Secret
from deployd.errors import DeploydError, NotAllowedError, UsageError
from tests.unit.daemon import payloads as made
from tests.unit.daemon.payloads import NOW, SECRET, A, B


def receive(request, *, secret=SECRET, now=NOW):
    headers, body = request
    return door.receive(headers, body, secret=secret, now=now)


def change_of(request) -> Change:
    pushed = receive(request)
    assert isinstance(pushed, Push), pushed
    (change,) = pushed.changes
    return change


SHOP = Repository(name="acme/shop", url="https://forge.example/acme/shop")
ALL = {
    "github": made.github(made.github_push()),
    "gitea": made.gitea(made.github_push()),
    "gitlab": made.gitlab(made.gitlab_push()),
    "gitlab-signed": made.gitlab_signed(made.gitlab_push(), secret=SECRET, key=SECRET.reveal().encode()),
    "bitbucket": made.bitbucket(made.bitbucket_push()),
    "bitbucket-server": made.bitbucket(made.server_push(), event="repo:refs_changed"),
    "generic": made.generic({"ref": "refs/heads/main", "before": A, "after": B, "message": "Prices"}),
}


@pytest.mark.parametrize("name", ALL)
def test_the_same_push_reads_the_same_from_every_forge(name):
    change = change_of(ALL[name])
    assert (change.kind, change.name, change.before, change.after) == ("branch", "main", A, B)
    assert (change.message or "Prices").strip() == "Prices"


@pytest.mark.parametrize("name", ALL)
def test_a_changed_body_another_secret_and_a_missing_signature_are_refused_alike(name):
    headers, body = ALL[name]
    signing = [key for key in headers if "signature" in key or key == "x-gitlab-token"]
    answers = []
    if "x-gitlab-token" not in headers:  # a token says nothing about the body
        with pytest.raises(NotAllowedError) as caught:
            receive((headers, body + b" "))
        answers.append(caught.value.to_json())
    without = {key: value for key, value in headers.items() if key not in signing}
    for request, secret in (
        ((headers, body), Secret("another")),
        ((without, body), SECRET),
        ((headers, body), None),
        ((headers, body), Secret("")),
    ):
        with pytest.raises(NotAllowedError) as caught:
            receive(request, secret=secret)
        answers.append(caught.value.to_json())
    assert all(answer == answers[0] for answer in answers)


def test_githubs_own_test_vector_of_a_signature():
    body = b"Hello, World!"
    headers = {
        "x-github-event": "push",
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }
    with pytest.raises(UsageError, match="no JSON"):  # the signature held: only then is the body read
        receive((headers, body))
    with pytest.raises(NotAllowedError):
        receive((headers, body + b"!"))


def test_the_signature_is_checked_before_the_body_is_read(mocker):
    read = mocker.patch("deployd.daemon.hooks.reading.read")
    with pytest.raises(NotAllowedError):
        receive(({"x-github-event": "push", "x-hub-signature-256": "sha256=0"}, b"{"))
    read.assert_not_called()


def test_gitlabs_signing_token_is_base64_after_its_prefix_and_has_a_time():
    token = Secret("whsec_" + base64.b64encode(b"k" * 32).decode())
    request = made.gitlab_signed(made.gitlab_push(), secret=token, key=b"k" * 32)
    assert isinstance(receive(request, secret=token), Push)
    with pytest.raises(NotAllowedError):
        receive(request, secret=token, now=NOW + 301)
    headers, body = request
    with pytest.raises(NotAllowedError):  # a signature that fails is not rescued by a token beside it
        receive((headers | {"webhook-signature": "v1,AAAA", "x-gitlab-token": token.reveal()}, body), secret=token)


@pytest.mark.parametrize("late", [-301, 301])
def test_the_generic_hook_has_a_time_against_replay(late):
    request = made.generic({"ref": "refs/heads/main", "after": B})
    assert isinstance(receive(request), Push)
    with pytest.raises(NotAllowedError):
        receive(request, now=NOW + late)


def test_gitea_is_known_though_it_sends_githubs_headers_too():
    pushed = receive(ALL["gitea"])
    assert isinstance(pushed, Push)
    assert (pushed.forge, pushed.delivery, pushed.repository, pushed.who) == ("gitea", "g-1", SHOP, "gitea:anna")


def test_a_form_is_read_as_well_as_json():
    from urllib.parse import quote

    body = b"payload=" + quote(json.dumps(made.github_push())).encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-github-event": "push",
        "x-hub-signature-256": f"sha256={made.signature(body)}",
    }
    assert change_of((headers, body)).after == B


@pytest.mark.parametrize("named", ["x-gitea", "x-forgejo"])
def test_of_a_form_gitea_signs_what_is_in_it(named):
    from urllib.parse import urlencode

    inner = made.body_of(made.github_push())
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        f"{named}-event": "push",
        f"{named}-delivery": "g-2",
        f"{named}-signature": made.signature(inner),
    }
    body = urlencode({"payload": inner}).encode()
    assert change_of((headers, body)).after == B
    for other in (urlencode({"payload": inner + b" "}).encode(), b"payload=", b"\xff", inner):
        with pytest.raises((NotAllowedError, UsageError)):
            receive((headers, other))


# files


def test_files_are_taken_only_when_the_payload_has_all_of_them():
    assert change_of(ALL["github"]).files == ("README.md", "shop/a.ts")
    assert change_of(ALL["gitlab"]).files == ("shop/a.ts",)
    assert change_of(ALL["bitbucket"]).files is None
    for payload in (
        made.github_push(forced=True),
        made.github_push(before=made.ZEROS),
        made.github_push(commits=[]),
        made.github_push(commits=[{"id": B, "added": ["a"], "removed": []}]),
        made.github_push(total_commits=2),
        made.github_push(commits=made.github_push()["commits"] * 2048),
    ):
        assert change_of(made.github(payload)).files is None
    assert change_of(made.gitlab(made.gitlab_push(total_commits_count=21))).files is None


# refs


def test_a_deleted_branch_has_no_after():
    deleted = made.github_push(deleted=True, after=made.ZEROS, head_commit=None, commits=[])
    assert change_of(made.github(deleted)).after is None
    assert change_of(made.gitlab(made.gitlab_push(after=made.ZEROS, checkout_sha=None, commits=[]))).after is None
    gone = {"new": None, "old": {"type": "branch", "name": "main", "target": {"hash": A}}}
    assert change_of(made.bitbucket(made.bitbucket_push(gone))).after is None


def test_a_forced_push_is_told():
    assert change_of(made.github(made.github_push(forced=True))).forced
    assert change_of(ALL["bitbucket"]).forced


def test_a_tag_is_a_tag_and_gitlabs_annotated_one_names_its_commit():
    assert change_of(made.github(made.github_push(ref="refs/tags/v1.0"))).kind == "tag"
    tag = made.gitlab_push(object_kind="tag_push", ref="refs/tags/v1.0", after="c" * 40)
    assert change_of(made.gitlab(tag)).after == B


def test_other_refs_and_events_start_nothing_and_a_ping_is_a_ping():
    assert isinstance(receive(made.github(made.github_push(ref="refs/notes/x"))), Ignored)
    assert isinstance(receive(made.github({"action": "opened"}, event="issues")), Ignored)
    assert isinstance(receive(made.gitlab({"object_kind": "pipeline"})), Ignored)
    assert isinstance(receive(made.bitbucket({}, event="issue:created")), Ignored)
    assert isinstance(receive(made.github({"zen": "x"}, event="ping")), Ping)
    assert isinstance(receive(made.bitbucket({"test": True}, event="diagnostics:ping")), Ping)
    assert isinstance(receive(made.generic({"ping": True})), Ping)


@pytest.mark.parametrize(
    "ref", ["refs/heads/--upload-pack=x", "refs/heads/a b", "refs/heads/a\nb", "refs/heads/../../x", "-x", "refs/heads/a.lock", "x" * 300, "", 7]
)  # fmt: skip
def test_a_ref_that_git_would_refuse_is_refused_here(ref):
    with pytest.raises(UsageError) as caught:
        receive(made.github(made.github_push(ref=ref)))
    assert caught.value.code == "hook-malformed"


@pytest.mark.parametrize("after", ["main", "b" * 5, "B" * 40, "$(id)", 7, ["b"]])
def test_a_commit_is_hex(after):
    with pytest.raises(UsageError):
        receive(made.github(made.github_push(after=after)))


# pull requests


@pytest.mark.parametrize(
    ("action", "expected"),
    [("opened", "opened"), ("reopened", "opened"), ("synchronize", "updated"), ("closed", "closed"), ("labeled", None)],
)
def test_a_pull_requests_actions(action, expected):
    found = receive(made.github(made.github_pull(action), event="pull_request"))
    assert (found.action if isinstance(found, PullRequest) else None) == expected


def test_a_fork_is_told_also_when_it_is_gone():
    assert not receive(made.github(made.github_pull(), event="pull_request")).fork
    assert receive(made.github(made.github_pull(fork=True), event="pull_request")).fork
    gone = made.github_pull()
    gone["pull_request"]["head"]["repo"] = None
    assert receive(made.github(gone, event="pull_request")).fork


def test_a_merge_request_of_a_fork_that_is_gone_is_read_and_is_a_forks():
    gone = made.gitlab_merge()
    gone["object_attributes"]["source_project_id"] = None
    gone["object_attributes"]["action"] = "close"
    found = receive(made.gitlab(gone))
    assert (found.action, found.fork) == ("closed", True)


def test_when_a_pull_request_changed_is_read_from_every_forge():
    """Two deliveries that come in the wrong order are told apart by it."""
    at, pull = 1_790_000_000.0, made.github_pull()
    pull["pull_request"]["updated_at"] = "2026-09-21T14:13:20Z"
    assert receive(made.github(pull, "pull_request")).at == receive(made.gitea(pull, "pull_request")).at == at
    for written in ("2026-09-21 14:13:20 UTC", "2026-09-21T16:13:20.000+02:00", "2026-09-21 14:13:20"):
        assert receive(made.gitlab(made.gitlab_merge(updated_at=written))).at == at
    cloud, server = bitbucket_pulls()
    assert receive(made.bitbucket(cloud, event="pullrequest:updated")).at == at
    assert receive(made.bitbucket(server, event="pr:opened")).at == at
    for nothing in (None, "soon", True, {}, "9" * 400):
        assert receive(made.gitlab(made.gitlab_merge(updated_at=nothing))).at is None


def bitbucket_pulls():
    side = {"commit": {"hash": B[:12]}, "branch": {"name": "prices"}, "repository": {"full_name": "acme/shop"}}
    repository = {"slug": "shop", "project": {"key": "ACME"}}
    end = {"displayId": "prices", "latestCommit": B, "repository": repository}
    cloud = {"id": 3, "source": side, "destination": side, "updated_on": "2026-09-21T14:13:20.000000+00:00"}
    return {"pullrequest": cloud}, {
        "pullRequest": {"id": 3, "fromRef": end, "toRef": end, "updatedDate": 1790000000000}
    }


def test_what_follows_from_one_hook_of_gitlab_is_not_taken_for_a_replay():
    def sent(payload, event_id):
        headers, body = made.gitlab(payload)
        del headers["idempotency-key"]  # older ones send none
        return receive((headers | {"x-gitlab-event-uuid": event_id}, body)).delivery

    push, merge = made.gitlab_push(), made.gitlab_merge()
    assert sent(push, "e-1") != sent(merge, "e-1")  # a merge, and the push that it is
    assert sent(push, "e-1") != sent(push, "e-2")  # there, back and there again: the same words twice
    assert sent(push, "e-1") == sent(push, "e-1")


def test_a_merge_request_reads_as_a_pull_request():
    found = receive(made.gitlab(made.gitlab_merge()))
    assert found == PullRequest(
        forge="gitlab",
        delivery="l-1",
        repository=SHOP,
        number=7,
        action="opened",
        title="New prices",
        url="https://forge.example/acme/shop/-/merge_requests/7",
        branch="prices",
        base="main",
        commit=B,
        ref="refs/merge-requests/7/head",
        fork=False,
        who="gitlab:anna",
        message="Prices",
    )
    assert receive(made.gitlab(made.gitlab_merge("update", oldrev=A))).action == "updated"
    assert isinstance(receive(made.gitlab(made.gitlab_merge("update"))), Ignored)  # a label
    assert receive(made.gitlab(made.gitlab_merge("merge"))).action == "closed"
    assert receive(made.gitlab(made.gitlab_merge(source_project_id=2))).fork


# whatever comes


@pytest.mark.parametrize("name", ALL)
def test_what_is_kept_comes_back_the_same(name):
    found = receive(ALL[name])
    assert values.from_json(json.loads(json.dumps(values.to_json(found)))) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    "ref", "before", "after", "commits", "repository", "full_name", "head_commit", "project", "object_kind", "push",
    "object_attributes", "changes", "pull_request", "number", "action", "sender", "head", "base", "repo", "new", "old",
    "checkout_sha", "user", "pullrequest", "pullRequest", "actor", "links", "total_commits", "iid", "last_commit",
]  # fmt: skip
MAKERS = {
    "github-push": (made.github, made.github_push()),
    "github-pull": (lambda p: made.github(p, event="pull_request"), made.github_pull()),
    "gitea": (made.gitea, made.github_push()),
    "gitlab-push": (made.gitlab, made.gitlab_push()),
    "gitlab-merge": (made.gitlab, made.gitlab_merge()),
    "bitbucket": (made.bitbucket, made.bitbucket_push()),
    "server": (lambda p: made.bitbucket(p, event="repo:refs_changed"), made.server_push()),
    "generic": (made.generic, {"ref": "refs/heads/main", "after": B}),
}


@pytest.mark.parametrize("name", MAKERS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_payload_ends_in_anything_but_our_own_errors(name, data):
    sign, payload = MAKERS[name]
    payload = json.loads(json.dumps(payload))
    for _ in range(data.draw(st.integers(1, 3))):
        place = payload
        while True:
            key = data.draw(st.sampled_from([*place, *KEYS]))
            if isinstance(place.get(key), dict) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(JSON)
            break
    try:
        found = receive(sign(payload))
    except UsageError:  # `hook-malformed`
        return
    json.dumps(values.to_json(found)).encode()
    str(values.to_json(found)).encode()  # no lone surrogate reaches the database


@given(
    body=st.binary(max_size=300), kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", ""])
)
@settings(max_examples=200, deadline=None)
def test_no_body_ends_in_anything_but_our_own_errors(body, kind):
    headers = {"content-type": kind, "x-github-event": "push", "x-hub-signature-256": f"sha256={made.signature(body)}"}
    with pytest.raises(DeploydError):
        receive((headers, body))


@given(headers=st.dictionaries(st.sampled_from([*ALL["gitea"][0], *ALL["generic"][0], *ALL["bitbucket"][0], *ALL["gitlab-signed"][0], *ALL["gitlab"][0]]), st.text(max_size=30)))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_headers_let_an_unsigned_body_in(headers):
    with pytest.raises(NotAllowedError):
        receive((headers, made.body_of(made.github_push())))


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"ref":' * 50_000, b"9" * 10_000, b'{"number": 1e999}', b"\xff\xfe", b""]
)
def test_deep_and_huge_json_is_malformed(body):
    headers = {
        "content-type": "application/json",
        "x-github-event": "push",
        "x-hub-signature-256": f"sha256={made.signature(body)}",
    }
    with pytest.raises(UsageError):
        receive((headers, body))


def test_a_body_over_the_limit_is_told_so():
    with pytest.raises(UsageError) as caught:
        receive(({"x-github-event": "push"}, b" " * (door.LARGEST + 1)))
    assert caught.value.code == "hook-too-large"
