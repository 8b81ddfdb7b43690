"""Deep generative models whose priors and posteriors go past the Gaussian, on Pyro and PyTorch."""

__version__ = "0.1.0"
