"""Live -> Findings: what is live where, what it says, and what may go. It finds; rollouts act."""

from deployd.stages.supervise import comparing, retention
from deployd.stages.supervise.counting import traffic
from deployd.stages.supervise.follow import logs
from deployd.stages.supervise.look import HostStatus, status
from deployd.stages.supervise.retention import prune

__all__ = ["HostStatus", "comparing", "logs", "prune", "retention", "status", "traffic"]
