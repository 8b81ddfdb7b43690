"""NADE and stick-breaking NADE; pyrodgm/zoo/stick_breaking_nade.py describes them.

python examples/stick_breaking_nade.py --model nade --data static_mnist
python examples/stick_breaking_nade.py --model stick-breaking --data static_mnist
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("stick_breaking_nade")
