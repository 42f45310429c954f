"""What goes back to forges: a rollout's state -> commit status, deployment and comment, as each forge's API has it."""
