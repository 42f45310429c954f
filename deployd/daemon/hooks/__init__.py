"""Deliveries of forges: headers, raw body and secret -> a Push, PullRequest, Ping or Ignored; then what they start."""
