"""deployd: from a git commit to atomic, immutable releases on bare Linux servers."""

__version__ = "0.1.0"
