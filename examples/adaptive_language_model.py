"""Adaptive language models; pyrodgm/zoo/adaptive_language_model.py describes them.

python examples/adaptive_language_model.py --model stick-breaking-lstm --data ptb
python examples/adaptive_language_model.py --model lstm --data ptb
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("adaptive_language_model")
