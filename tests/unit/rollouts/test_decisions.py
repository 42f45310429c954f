"""The pure parts: states, decisions about what was left, waves, plans, where a rollback goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
from deployd.domain.options import Options, Waves
from deployd.domain.rollout import RolloutRecord
from deployd.domain.stages import SourceRequest
from deployd.errors import DeploydError, HostError, UnreachableError
from deployd.rollouts import values
from deployd.rollouts.fleet import raise_first, waves
from deployd.rollouts.kept import before
from deployd.rollouts.plan import HostFacts, PlanFacts, plan
from deployd.rollouts.recovery import Decision, decide, successor
from deployd.rollouts.states import (
    CANCELLABLE,
    CHANGED_NOTHING,
    RESUMABLE,
    TERMINAL,
    TRANSITIONS,
    State,
    may_follow,
    mermaid,
)
from deployd.rollouts.steps import MOMENTS, RELEASE, ROLLBACK, TURN_BACK, Step, checkpoints
from deployd.rollouts.turnback import describe
from deployd.rollouts.wishes import (
    PromoteWish,
    ReleaseWish,
    RollbackWish,
    RolloutResult,
    wish_from_json,
    wish_to_json,
)

APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
WEB1, WEB2 = HostName.parse("web1"), HostName.parse("web2")


def release(number: int) -> ReleaseId:
    return ReleaseId.parse(f"20261121-1015{number:02d}-3fa9c01-k2x7")


def record(state: State, *, kind="release", **more) -> RolloutRecord:
    return RolloutRecord(
        id=RolloutId.new(),
        kind=kind,
        app=APP,
        environment=PRODUCTION,
        state=state,
        release=None,
        who="ada",
        created="",
        finished=None,
        outcome=None,
        owner=None,
        cancel_requested=more.get("cancel_requested"),
        superseded_by=more.get("superseded_by"),
        touched=False,
        intent=None,
        error=None,
        result=None,
        wish={},
    )


class Walk(RuleBasedStateMachine):
    """Any walk over the table: it ends, what is terminal stays, and nothing becomes live without a flip."""

    def __init__(self) -> None:
        super().__init__()
        self.path = [State.WAITING]

    @precondition(lambda self: self.path[-1] not in TERMINAL)
    @rule(data=st.data())
    def go_on(self, data) -> None:
        self.path.append(data.draw(st.sampled_from(sorted(TRANSITIONS[self.path[-1]]))))

    @rule(new=st.sampled_from(State))
    def only_what_the_table_has(self, new) -> None:
        old = self.path[-1]
        assert may_follow(old, new) is (old is new or new in TRANSITIONS[old])

    @invariant()
    def no_state_comes_twice(self) -> None:
        assert len(set(self.path)) == len(self.path)

    @invariant()
    def mixed_hosts_are_turned_back_or_finished(self) -> None:
        if State.FLIPPING in self.path and self.path[-1] is State.FAILED:
            assert State.TURNING_BACK in self.path

    @invariant()
    def what_changed_nothing_never_finished(self) -> None:
        if self.path[-1] in CHANGED_NOTHING - {State.SUPERSEDED}:
            assert State.FINISHING not in self.path


TestWalk = Walk.TestCase


def test_the_sets_fit_the_table():
    assert set(State) == TERMINAL | RESUMABLE
    assert not TERMINAL & RESUMABLE
    assert CANCELLABLE <= RESUMABLE
    assert State.FINISHING not in CANCELLABLE
    assert {State.LIVE, State.PARTLY_LIVE}.isdisjoint(CHANGED_NOTHING)


def test_the_document_shows_the_table_as_it_is():
    text = (Path(__file__).parents[3] / "docs" / "explanation" / "rollouts.md").read_text()

    assert mermaid() in text


def test_every_step_has_a_state_and_every_recipe_its_checkpoints():
    assert {step for step in Step if step.state is None} == {Step.CLOSE}
    assert set(RELEASE) | set(ROLLBACK) | set(TURN_BACK) | {Step.PAUSE, Step.ARM, Step.BEFORE, Step.BAKE} == set(Step)
    assert len(checkpoints(RELEASE)) == len(RELEASE) * len(MOMENTS)


@pytest.mark.parametrize("state", sorted(RESUMABLE))
def test_what_lives_is_left_alone(state):
    assert decide(record(state), later=[], alive=True) is Decision.LEAVE


@pytest.mark.parametrize("state", sorted(RESUMABLE))
def test_what_was_asked_for_last_is_resumed(state):
    assert decide(record(state), later=[], alive=False) is Decision.RESUME


@pytest.mark.parametrize("state", sorted(RESUMABLE - {State.FINISHING}))
@pytest.mark.parametrize("later", sorted({State.LIVE, State.FLIPPING, State.PARTLY_LIVE, State.WAITING}))
def test_what_stands_in_the_way_of_a_later_one_is_turned_back(state, later):
    assert decide(record(state), later=[record(later)], alive=False) is Decision.TURN_BACK


@pytest.mark.parametrize("later", sorted({State.FAILED, State.CANCELLED, State.SUPERSEDED, State.PREPARED}))
def test_a_later_one_that_changed_nothing_does_not_count(later):
    assert decide(record(State.PREPARING), later=[record(later)], alive=False) is Decision.RESUME
    assert successor([record(later)]) is None


def test_a_cancelled_one_is_turned_back():
    assert decide(record(State.FLIPPING, cancel_requested="ada"), later=[], alive=False) is Decision.TURN_BACK


@given(
    hosts=st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True),
    strategy=st.sampled_from(["all", "batch", "canary"]),
    batch=st.integers(1, 7),
)
def test_waves_take_every_host_once_and_in_order(hosts, strategy, batch):
    names = [HostName.parse(f"web{number}") for number in hosts]
    made = waves(names, Waves(strategy=strategy, batch=batch))

    assert [name for wave in made for name in wave] == names
    assert all(made)
    if strategy == "canary" and len(names) > 1:
        assert len(made[0]) == 1
        assert len(made) == 2
    if strategy == "batch":
        assert max(map(len, made)) <= max(batch, 1 if len(names) == 1 else batch)


def test_a_rollback_goes_to_the_last_good_one_before_what_is_left():
    log = [release(1), release(2), release(3)]

    assert before(log, left={release(3)}, bad=set()) == release(2)
    assert before(log, left={release(3)}, bad={release(2)}) == release(1)
    assert before([*log, release(2)], left={release(2)}, bad={release(3)}) == release(1)
    assert before([release(1)], left={release(1)}, bad=set()) is None


def test_the_weightiest_failure_is_raised_and_the_others_are_named():
    down = UnreachableError("web1 is down", host="web1", live="unknown", fix="x")
    full = HostError("web2 is full", host="web2", live="A", fix="x", code="disk-full")

    with pytest.raises(HostError) as caught:
        raise_first({WEB1: down, WEB2: full})
    assert caught.value.code == "disk-full"
    assert "web1 is down" in str(caught.value.details)
    both = {WEB1: full.but(what="web1: full", host="web1"), WEB2: full.but(what="web2: full")}
    with pytest.raises(HostError) as caught:
        raise_first(both)
    assert caught.value.details == "web2: full"
    raise_first({WEB1: object()})


def test_what_is_live_is_said_in_words():
    assert describe({WEB1: release(1), WEB2: release(1)}) == f"{release(1)} on all hosts"
    assert describe({WEB1: None}) == "nothing yet on web1"
    assert describe({WEB1: release(1), WEB2: None}) == f"{release(1)} on web1, nothing on web2"


def wish(**more) -> ReleaseWish:
    return ReleaseWish(
        app=APP,
        environment=PRODUCTION,
        source=SourceRequest(repository="/r"),
        hosts=(WEB1, WEB2),
        options=more.pop("options", Options()),
        **more,
    )


@pytest.mark.parametrize(
    "asked",
    [
        wish(message="m", timeout=3.0),
        ReleaseWish(app=APP, environment=PRODUCTION, source=None, artifact_file="/a", hosts=(WEB1,), options=Options()),
        PromoteWish(app=APP, environment=PRODUCTION, release=release(1), hosts=(WEB1,), options=Options()),
        RollbackWish(app=APP, environment=PRODUCTION, hosts=(WEB1,), options=Options(), release=release(1)),
        RollbackWish(app=APP, environment=PRODUCTION, hosts=(WEB1,), options=Options()),
    ],
)
def test_a_wish_survives_the_store(asked):
    import json

    assert wish_from_json(json.loads(json.dumps(wish_to_json(asked)))) == asked


def test_a_wish_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format"):
        wish_from_json({**wish_to_json(wish()), "v": 2})


def test_a_result_survives_the_store():
    result = RolloutResult(
        rollout=RolloutId.new(),
        release=release(1),
        outcome="live",
        previous=None,
        duration_s=1.0,
        flip_s=0.1,
        hosts=({"name": "web1", "release": release(1), "state": "live"},),
    )

    assert RolloutResult.from_json(result.to_json()) == result


def test_errors_survive_a_checkpoint_and_unknown_ones_become_plain():
    error = HostError("w", host="web1", live="A", fix="f", code="disk-full", details="d")
    again = values.error_from_json(values.error_to_json(error))

    assert type(again) is HostError
    assert again.fields() == error.fields()
    unknown = values.error_from_json({"class": "annotations", "fields": error.fields()})
    assert type(unknown) is DeploydError


def test_a_plan_says_what_on_which_host_and_why():
    facts = PlanFacts(
        commit="3fa9c01",
        subject="Add prices",
        ref="main",
        framework="nextjs 16",
        manager="npm",
        node="22.22.3",
        build_id="b1",
        hosts={
            WEB1: HostFacts(current=release(1), has_runtime=True, changes=("site",)),
            WEB2: HostFacts(error="web2 does not answer; see its power"),
        },
    )
    made = plan(facts, wish(options=Options(waves=Waves(strategy="canary"))))

    lines = [(action.host, action.stage, action.what) for action in made.actions]
    assert (None, "source", "check out 3fa9c01: Add prices") in lines
    assert (None, "build", "build nextjs 16 with npm on Node.js 22.22.3") in lines
    assert (WEB1, "prepare", "write the app's site for the web server") in lines
    assert (WEB1, "flip", f"flip from {release(1)}") in lines
    assert any(action.host == WEB2 and action.reason.startswith("web2 does not answer") for action in made.actions)
    assert all(action.reason for action in made.actions)


def test_a_plan_takes_an_earlier_build_and_leaves_prepared():
    facts = PlanFacts(
        commit="3fa9c01",
        ref="main",
        build_id="b1",
        built_by=release(1),
        blocked_by="r-1",
        hosts={WEB1: HostFacts(), WEB2: HostFacts()},
    )
    made = plan(facts, wish(activate=False))

    stages = [action.stage for action in made.actions]
    assert "flip" not in stages
    assert "package" not in stages
    assert stages[0] == "settle"
    assert f"take the artifact of {release(1)}" in [action.what for action in made.actions]
