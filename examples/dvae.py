"""Discrete variational autoencoders with Boltzmann priors; pyrodgm/zoo/dvae.py describes them.

python examples/dvae.py --model dvaes_power --struct 1-layer-nonlin --particles 1
python examples/evaluate.py runs/static_mnist-dvaes_power-1-layer-nonlin-k1-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("dvae")
