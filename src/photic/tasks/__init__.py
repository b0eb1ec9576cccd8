"""Tasks: network + loss + metrics, with what happens in a step."""
