"""Schedules that name a release: it is one that they can bring live, and it is still there when their time comes."""

from __future__ import annotations

from dataclasses import replace

from deployd.domain.ids import EnvironmentName
from deployd.rollouts import kept
from tests.contract.test_store import provenance_of, release_of

STAGING = EnvironmentName("staging")


def schedule(frame, environment: str, **body):
    path = f"/v1/apps/shop/environments/{environment}/schedules"
    return frame.local.post(path, json={"within": 3600, **body})


def test_a_release_that_is_to_be_promoted_is_kept_where_it_is(frame):
    made = replace(release_of(1), environment=STAGING)
    frame.daemon.store.releases.add(made, provenance=provenance_of(made))
    store = frame.daemon.store
    assert made.id not in kept.protected_ones(store, made.app, STAGING)
    asked = schedule(frame, "production", kind="promote", release=made.id)
    assert asked.status_code == 201
    assert made.id in kept.protected_ones(store, made.app, STAGING)
    assert frame.local.delete(f"/v1/schedules/{asked.json()['id']}").status_code == 200
    assert made.id not in kept.protected_ones(store, made.app, STAGING)


def test_a_rollback_to_a_release_of_another_environment_is_refused_when_it_is_made(frame):
    made = replace(release_of(1), environment=STAGING)
    frame.daemon.store.releases.add(made, provenance=provenance_of(made))
    refused = schedule(frame, "production", kind="rollback", release=made.id)
    assert (refused.status_code, refused.json()["title"]) == (422, "schedule-invalid")
    assert "staging" in refused.json()["detail"]
    assert schedule(frame, "staging", kind="rollback", release=made.id).status_code == 201
