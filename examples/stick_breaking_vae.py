"""VAEs with stick-breaking latents; pyrodgm/zoo/stick_breaking_vae.py describes them.

python examples/stick_breaking_vae.py --latents kumaraswamy
python examples/stick_breaking_vae.py --latents kumaraswamy --data grey_mnist
python examples/evaluate.py runs/mnist-kumaraswamy-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("stick_breaking_vae")
