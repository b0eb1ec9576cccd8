"""Raw denoising from Python, under fixed names."""
