"""The one door to servers: transport, pool, keys, facts, and the host helper's verbs as typed calls."""
