"""Artifact -> Shipped: only what a host lacks travels, and the host seals it."""
