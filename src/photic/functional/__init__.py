"""Pure tensor functions that losses, metrics, inference and applications share."""
