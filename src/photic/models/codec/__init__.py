"""Learnt transforms for compression: pictures to latents and back."""
