"""The step that tries the artifact: what stops a release, what is told, and what is not tried again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployd.domain.options import Options, Probe, Verify
from deployd.domain.release import ReleaseState
from deployd.errors import PackageError
from deployd.rollouts import making, verifying
from deployd.rollouts.runner import Runner
from deployd.stages import verify as stage

MISSING = stage.Finding(
    kind="file",
    what="data/x.json is read, and not in the artifact",
    fix="...",
    error=True,
    include=("/*", ("data/x.json",)),
)
TOLD = stage.Finding(kind="answer", what="/x answered 500", fix="as expected")


@pytest.fixture
def trials(monkeypatch, fleet_of_three):
    """Trials that find `MISSING` and `TOLD`; each is counted, and kept as the real stage keeps them."""
    asked = []

    class Trial(verifying.verify_stage):
        remembered, remember = staticmethod(stage.remembered), staticmethod(stage.remember)
        findings = (MISSING, TOLD)

        @classmethod
        def verify(cls, _manifest, **given):
            asked.append(given)
            return stage.Verified(paths=tuple(given["paths"]), started=True, findings=cls.findings, seconds=0.1)

    monkeypatch.setattr(verifying, "verify_stage", Trial)
    Trial.asked = asked
    return Trial


def with_verify(mode, **more):
    return Options(verify=Verify(mode=mode), **more)


def test_what_is_missing_stops_a_strict_release_before_any_host_is_touched(fleet_of_three, trials):
    fleet = fleet_of_three
    with pytest.raises(PackageError) as caught:
        fleet.release("one")

    assert caught.value.code == "artifact-incomplete"
    assert 'include = { "/*" = ["data/x.json"] }' in caught.value.fix
    assert caught.value.live
    fleet.assert_live(None)
    assert "begin" not in fleet.calls("web1")
    (release,) = fleet.store.releases.of(fleet.app, fleet.environment)
    assert release.state is ReleaseState.FAILED
    assert [one["what"] for one in fleet.told("warning")] == [TOLD.what]


def test_the_same_artifact_is_refused_again_without_a_checkout(fleet_of_three, trials):
    for _ in range(2):
        with pytest.raises(PackageError):
            fleet_of_three.release("one")

    assert len(trials.asked) == 1
    assert [one["again"] for one in fleet_of_three.told("artifact_verified")] == [False, True]


def test_warn_tells_and_goes_on(fleet_of_three, trials):
    result = fleet_of_three.release("one", options=with_verify("warn"))

    fleet_of_three.assert_live(result.release)
    assert [one["what"] for one in fleet_of_three.told("warning")] == [MISSING.what, TOLD.what]


def test_off_tries_nothing_and_keeps_the_install(fleet_of_three, trials, monkeypatch):
    kept = []
    monkeypatch.setattr(making, "keep_install", lambda _rollout, output: kept.append(output))
    fleet_of_three.release("one", options=with_verify("off"))

    assert (trials.asked, len(kept)) == ([], 1)


def test_the_install_is_kept_when_a_trial_fails(fleet_of_three, trials, monkeypatch):
    kept = []
    monkeypatch.setattr(making, "keep_install", lambda _rollout, output: kept.append(output))
    with pytest.raises(PackageError):
        fleet_of_three.release("one")
    assert len(kept) == 1


def test_a_new_path_or_no_cache_means_a_new_trial(fleet_of_three, trials):
    trials.findings = ()
    fleet = fleet_of_three
    fleet.release("one")
    fleet.release("one")
    assert len(trials.asked) == 1
    fleet.release("one", options=Options(probe=Probe(path="/health"), verify=Verify(paths=("/more",))))
    assert len(trials.asked) == 2
    fleet.release("one", use_cache=False)
    assert len(trials.asked) == 3


def test_the_checkout_is_there_for_a_build_and_not_for_an_artifact_that_was_there(fleet_of_three, trials):
    trials.findings = ()
    fleet_of_three.release("one")
    fleet_of_three.release("one", options=Options(verify=Verify(paths=("/more",))))

    assert [one["checkout"] is not None for one in trials.asked] == [True, False]


def test_a_folder_that_was_built_elsewhere_says_what_could_have_come_along(fleet_of_three, trials, tmp_path):
    trials.findings = ()
    fleet_of_three.release("one")
    more = Options(verify=Verify(paths=("/more",)))
    fleet_of_three.release("one", options=more, prebuilt=str(tmp_path))

    assert trials.asked[1]["checkout"].root == tmp_path


def test_native_code_for_other_hosts_stops_a_release(fleet_of_three, trials, monkeypatch):
    native = replace(MISSING, kind="native", what="sharp is for arm64", include=None)
    trials.findings = ()
    monkeypatch.setattr(trials, "check_natives", staticmethod(lambda _manifest, **_: (native,)), raising=False)
    with pytest.raises(PackageError) as caught:
        fleet_of_three.release("one")
    assert caught.value.code == "native-mismatch"


def test_a_rollout_that_began_before_verification_does_without(fleet_of_three, trials, monkeypatch):
    monkeypatch.setattr(Runner, "is_new", lambda _self, _name: False)
    result = fleet_of_three.release("one")

    fleet_of_three.assert_live(result.release)
    assert trials.asked == []
