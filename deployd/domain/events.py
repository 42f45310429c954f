"""What deployd tells while it works: facts in the past tense, one enum, and the shape of whoever listens."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Event(StrEnum):
    """Everything that is told. The fields of each are listed in docs/reference/events.md."""

    ROLLOUT_STARTED = "rollout_started"
    STAGE_STARTED = "stage_started"
    STAGE_FINISHED = "stage_finished"
    SOURCE_CHECKED_OUT = "source_checked_out"
    WORK_NOT_SHIPPED = "work_not_shipped"
    BUILD_PLANNED = "build_planned"
    BUILD_OUTPUT = "build_output"
    BUILD_REUSED = "build_reused"
    INSTALL_SKIPPED = "install_skipped"
    ARTIFACT_PACKAGED = "artifact_packaged"
    ARTIFACT_FETCHED = "artifact_fetched"
    ASSETS_SENT = "assets_sent"
    ASSETS_PRUNED = "assets_pruned"
    ARTIFACT_VERIFIED = "artifact_verified"
    FILES_LEFT_OUT = "files_left_out"
    HOST_CONNECTED = "host_connected"
    HOST_COMPARED = "host_compared"
    BYTES_SENT = "bytes_sent"
    RELEASE_SEALED = "release_sealed"
    COMMAND_OUTPUT = "command_output"
    RELEASE_STARTED = "release_started"
    PROBE_ANSWERED = "probe_answered"
    RELEASE_PREPARED = "release_prepared"
    RELEASE_FLIPPED = "release_flipped"
    RELEASE_FLIPPED_BACK = "release_flipped_back"
    WAVE_FINISHED = "wave_finished"
    BAKE_LOOKED = "bake_looked"
    RELEASE_DRAINED = "release_drained"
    RELEASES_PRUNED = "releases_pruned"
    CONFIRMATION_WANTED = "confirmation_wanted"
    APPROVAL_WANTED = "approval_wanted"
    CANCEL_REQUESTED = "cancel_requested"
    WARNING = "warning"
    LOG_LINE = "log_line"
    ROLLOUT_FINISHED = "rollout_finished"


class Report(Protocol):
    """Takes one event. Stages get one and call it; they do not know who listens."""

    def __call__(self, event: Event, /, **fields: object) -> None:
        """Tell `event` with its fields (JSON values only, never a secret)."""


def quiet(_event: Event, /, **_fields: object) -> None:
    """A `Report` that nobody hears."""
