"""The order of things: one flat recipe for each kind of rollout, and the engine that makes them durable."""
