"""Release -> Live(host): start and probe on each host, then flip all at once, look through the web server, drain.

Preparing raises, one host at a time, because nothing was changed yet. What runs on several hosts at once (flip,
flip_back, probe_web, drain, discard) returns an outcome for each host instead: a value, or the HostError.
"""

from deployd.stages.activate.after import discard, drain, probe_web
from deployd.stages.activate.beforehand import run_before
from deployd.stages.activate.flipping import flip, flip_back, spread
from deployd.stages.activate.preparing import Prepared, prepare

__all__ = ["Prepared", "discard", "drain", "flip", "flip_back", "prepare", "probe_web", "run_before", "spread"]
