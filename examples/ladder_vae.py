"""VAEs of several stochastic layers; pyrodgm/zoo/ladder_vae.py describes them.

python examples/ladder_vae.py --model ladder
python examples/ladder_vae.py --model hvae --prior vampprior --no-batch-norm
python examples/ladder_vae.py --model bottom-up --objective iwelbo --particles 5
python examples/ladder_vae.py --model ladder --data omniglot_burda --device cuda
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("ladder_vae")
