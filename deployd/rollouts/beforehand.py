"""What runs once before a release starts (`[rollout] before`): a command, in the release's files and variables.

It runs on the first host alone, and only in a rollout that goes live: not before an approval, not for a release that is
only prepared (but in previews, which never go live). After a crash the step runs again: the command must not mind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.ids import EnvironmentName
from deployd.rollouts import consent, fleet
from deployd.rollouts.wishes import PromoteWish, ReleaseWish, RollbackWish
from deployd.stages import activate

if TYPE_CHECKING:
    from deployd.domain.ids import ReleaseId
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

_PREVIEW = EnvironmentName("preview")


def is_wanted(rollout: Rollout) -> bool:
    """Whether a command is to run now."""
    wish = rollout.wish
    if not rollout.options.waves.before or isinstance(wish, RollbackWish) or consent.is_wanted(rollout):
        return False
    is_prepared_only = isinstance(wish, ReleaseWish | PromoteWish) and not wish.activate
    return not is_prepared_only or rollout.environment == _PREVIEW


def run(rollout: Rollout, release: ReleaseId) -> Json:
    """Run it; raises HostError when it fails."""
    from deployd.rollouts import certifying

    options = rollout.options
    fleet.hold(rollout)
    certifying.bring(rollout, options.run)
    variables = rollout.store.variables.of_release(release)
    rollout.recorder.hide(value for name, value in variables.items() if not name.startswith("NEXT_PUBLIC_"))
    seconds = activate.run_before(
        rollout.pool,
        rollout.hosts[0],
        app=rollout.app,
        environment=rollout.environment,
        release=release,
        run=options.run,
        variables=variables,
        command=options.waves.before or "",
        limit=options.waves.before_timeout,
        report=rollout.report,
        cancel=rollout.stop,
    )
    return {"host": str(rollout.hosts[0]), "seconds": round(seconds, 3)}
