"""VAEs of counts under several priors; pyrodgm/zoo/count_vae.py describes them.

python examples/count_vae.py --prior vampprior
python examples/count_vae.py --prior sticks --counts negative-binomial --dispersion datum
python examples/count_vae.py --prior mixture --library observed
python examples/count_vae.py --data immune_cells --prior sticks --batch-size 32 --learning-rate 3e-3
python examples/evaluate.py runs/digit_counts-vampprior-zero-inflated-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("count_vae")
