"""VAE/GAN; pyrodgm/zoo/vae_gan.py describes it.

python examples/vae_gan.py --feature-weight 0.1
python examples/vae_gan.py --prior vampprior --components 100
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("vae_gan")
