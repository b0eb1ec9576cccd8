"""Forward operators: how an object becomes a measurement, with adjoint and noise."""
