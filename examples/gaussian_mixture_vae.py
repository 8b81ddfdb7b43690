"""VAEs with mixtures of Gaussians; pyrodgm/zoo/gaussian_mixture_vae.py describes them.

python examples/gaussian_mixture_vae.py --prior mixture --weights learned
python examples/gaussian_mixture_vae.py --prior standard --posterior mixture --objective stratified
python examples/gaussian_mixture_vae.py --prior mixture --posterior mixture --objective stratified-iwelbo
python examples/gaussian_mixture_vae.py --prior mixture --kl bound --compare
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("gaussian_mixture_vae")
