"""Compare finished runs: one table, gains per image, and the log-likelihood against a flag.

python examples/compare.py runs/static_mnist-hvae-standard-14 runs/static_mnist-hvae-vampprior-14
python examples/compare.py runs/components-* --by components --figure components.png
"""

import tyro

from pyrodgm.cli import Compare, compare

if __name__ == "__main__":
    compare(tyro.cli(Compare))
