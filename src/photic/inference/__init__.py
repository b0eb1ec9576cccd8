"""Using what was trained: loading, predicting, activation maps. Imports no Lightning."""
