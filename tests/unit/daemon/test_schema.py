"""schemathesis over the OpenAPI: whatever the description allows, no answer is a 5xx, and every one fits it."""

from __future__ import annotations

import os
import time
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.unit.daemon.frame import Frame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

ENDLESS = {"/v1/apps/{app}/environments/{environment}/logs"}


@pytest.mark.filterwarnings("ignore")
def test_no_request_breaks_the_daemon(tmp_path):
    frame = Frame(tmp_path)
    tried = []
    schema = schemathesis.openapi.from_asgi("/openapi.json", frame.as_peer(os.getuid()))
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue

        @settings(max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case):
            frame.daemon.dispatcher.beat = time.monotonic()  # nobody dispatches here, and /healthz would say so
            answer = case.call()
            assert answer.status_code < 500, (case.method, case.path, case.path_parameters, case.body, answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"][0] == "application/problem+json"
                assert answer.json()["error"]["fix"]

        ask()
        tried.append(operation.path)
    frame.close()
    assert len(tried) > 25
