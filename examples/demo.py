"""Two VAEs on scikit-learn's handwritten digits that differ only in the prior.

    python examples/demo.py

Trains a VAE with a standard-normal prior and one with a VampPrior, prints the test log-likelihoods of both and leaves
weights, metrics and figures in a run folder.
"""

import tyro

from pyrodgm.cli import Demo, demo

if __name__ == "__main__":
    demo(tyro.cli(Demo))
