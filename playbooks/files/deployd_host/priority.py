"""This process yields the processor to those that serve visitors."""

from __future__ import annotations


def yield_processor() -> None:
    """Let what serves visitors go first: this connection's scheduling group gets a third of a server's weight."""
    try:
        with open("/proc/self/autogroup", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return  # this kernel has no such groups, or a plain user asked twice in a tenth of a second
