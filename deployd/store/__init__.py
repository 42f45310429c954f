"""What deployd remembers: one SQLite file, one module a noun. Only `rollouts` and `client` write."""

from deployd.store.store import Store

__all__ = ["Store"]
