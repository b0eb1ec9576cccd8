"""Deployed graphs as files for other runtimes, each checked against the network it was made of."""
