"""Adversarial autoencoders; pyrodgm/zoo/adversarial_autoencoder.py describes it.

python examples/adversarial_autoencoder.py --prior mixture --components 10 --latent 2
python examples/adversarial_autoencoder.py --prior sticks --encoder noisy
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("adversarial_autoencoder")
