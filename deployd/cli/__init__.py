"""What a person types: one module a noun; each parses, calls the client, and draws."""
