"""A tiny package from outside, as CONTRIBUTING describes it; a test installs it and trains with it."""
