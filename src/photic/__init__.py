"""Photic."""
