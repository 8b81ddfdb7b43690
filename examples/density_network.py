"""The density network; pyrodgm/zoo/density_network.py describes it.

python examples/density_network.py --latent 2
python examples/density_network.py --compare 2 5 10 20
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("density_network")
