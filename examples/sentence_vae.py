"""VAEs of sentences under several priors, and a language model; pyrodgm/zoo/sentence_vae.py describes them.

python examples/sentence_vae.py --prior vampprior
python examples/sentence_vae.py --prior none --data ptb_characters --max-length 120
python examples/evaluate.py runs/ptb_words-vampprior-lstm-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("sentence_vae")
