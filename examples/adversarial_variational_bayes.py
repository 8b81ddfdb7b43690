"""Adversarial variational Bayes; pyrodgm/zoo/adversarial_variational_bayes.py describes it.

python examples/adversarial_variational_bayes.py --contrast 5
python examples/adversarial_variational_bayes.py --prior vampprior
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("adversarial_variational_bayes")
