"""Deep latent Gaussian mixtures; pyrodgm/zoo/dirichlet_process_vae.py describes them.

python examples/dirichlet_process_vae.py --model dlgmm --components 3
python examples/dirichlet_process_vae.py --model dpvae --components 17
python examples/dirichlet_process_vae.py --model vae
python examples/dirichlet_process_vae.py --model dlgmm --components 3 --objective published
python examples/dirichlet_process_vae.py --model two-layer --components 3
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("dirichlet_process_vae")
