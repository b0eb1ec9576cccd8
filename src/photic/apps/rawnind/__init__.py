"""Raw photographs: developed, denoised, and networks trained to do so."""
