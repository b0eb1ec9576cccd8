"""How well raw denoisers do, beside classical methods."""
