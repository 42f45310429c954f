"""BuildOutput -> FileSet: the closed set of files that the server needs."""

from deployd.stages.trace.tracing import trace

__all__ = ["trace"]
