"""Low-light photographs: training, comparing and using enhancers."""
