"""Live -> Findings: what is live where, and what is wrong with it."""
