"""Generative adversarial networks; pyrodgm/zoo/gan.py describes it.

python examples/gan.py --game wasserstein
python examples/gan.py --game hinge --critic-steps 1
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("gan")
