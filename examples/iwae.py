"""The importance-weighted autoencoder; pyrodgm/zoo/iwae.py describes it.

python examples/iwae.py --layers 1 --particles 50
python examples/iwae.py --layers 1 --particles 50 --objective vae
python examples/iwae.py --layers 1 --particles 50 --epochs 50 --schedule-epochs 50
python examples/iwae.py --layers 2 --particles 5 --gradient dreg --snr-draws 200
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("iwae")
