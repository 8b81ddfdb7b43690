"""VAEs of sounds under several priors; pyrodgm/zoo/sound_vae.py describes them.

python examples/sound_vae.py --prior vampprior
python examples/sound_vae.py --prior standard
python examples/evaluate.py runs/plucked_strings-vampprior-0
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("sound_vae")
