"""The parity task; pyrodgm/zoo/parity.py describes it.

python examples/parity.py --model stick-breaking
python examples/parity.py --model lstm
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("parity")
