"""BuildOutput -> FileSet: the closed set of files that the server needs."""

from deployd.stages.trace.entries import trace_entries
from deployd.stages.trace.tracing import trace
from deployd.stages.trace.why import chain

__all__ = ["chain", "trace", "trace_entries"]
