"""Evaluate the best weights of a run folder on the test set.

    python examples/evaluate.py runs/static_mnist-vae-vampprior-14 --num-samples 10000

Prints a row of the table and the kNN errors of the latents, and replaces `results.json` and the figures in the folder.
"""

import tyro

from pyrodgm.cli import Evaluate, evaluate

if __name__ == "__main__":
    evaluate(tyro.cli(Evaluate))
