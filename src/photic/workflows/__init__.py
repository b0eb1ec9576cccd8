"""What a user does: train, evaluate, predict, compare; each a function from a config to a result."""
