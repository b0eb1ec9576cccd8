"""Run folders: the truth about every run, on disk."""
