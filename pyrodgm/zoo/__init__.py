"""Published systems, one file each, and the registry by which the command line finds them."""

from pyrodgm.experiment import System
from pyrodgm.zoo import (
    adaptive_language_model,
    adversarial_autoencoder,
    adversarial_variational_bayes,
    count_vae,
    density_network,
    dirichlet_process_vae,
    dvae,
    gan,
    gaussian_mixture_vae,
    iwae,
    ladder_vae,
    parity,
    semi_supervised,
    sentence_vae,
    sound_vae,
    stick_breaking_nade,
    stick_breaking_vae,
    vae_gan,
    vampprior,
)

_ALL: tuple[System, ...] = (
    vampprior.SYSTEM,
    stick_breaking_vae.SYSTEM,
    semi_supervised.SYSTEM,
    gaussian_mixture_vae.SYSTEM,
    dirichlet_process_vae.SYSTEM,
    dvae.SYSTEM,
    iwae.SYSTEM,
    ladder_vae.SYSTEM,
    density_network.SYSTEM,
    count_vae.SYSTEM,
    sound_vae.SYSTEM,
    sentence_vae.SYSTEM,
    stick_breaking_nade.SYSTEM,
    adaptive_language_model.SYSTEM,
    parity.SYSTEM,
    gan.SYSTEM,
    vae_gan.SYSTEM,
    adversarial_autoencoder.SYSTEM,
    adversarial_variational_bayes.SYSTEM,
)

SYSTEMS: dict[str, System] = {system.name: system for system in _ALL}

__all__ = ["SYSTEMS"]
