"""The semi-supervised VAE; pyrodgm/zoo/semi_supervised.py describes it.

python examples/semi_supervised.py --label-fraction 0.01 --latents kumaraswamy --num-seeds 3
python examples/evaluate.py runs/grey_mnist-kumaraswamy-0.01-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("semi_supervised")
