"""Steel-surface defects: multi-label classification of strip images."""
