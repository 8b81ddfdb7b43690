"""Right calls of inference and of plots; see ``argument_calls.py``."""

from typing import Any

import torch
from argument_calls import QUIET, SHAPE, Call, bits, images, labelled, sequence_model, text, vae

from pyrodgm.infer import ELBO, LogLikelihood
from pyrodgm.plots import image_grid


def adam() -> torch.optim.Optimizer:
    return torch.optim.Adam(vae().parameters())


def on(pair: Any, **options: Any) -> Call:
    """A function of a pair and data."""
    return lambda: {"pair": pair(), "x": bits(5, 4), **options}


def of_sentences() -> LogLikelihood:
    return LogLikelihood(*[torch.zeros(2)] * 4, 5, 5.0, torch.zeros(2, 3), None, None, None, {})


def sounds() -> torch.Tensor:
    return 0.5 * torch.arange(2048.0).sin().expand(2, -1)


def features() -> dict[str, torch.Tensor]:
    labels = torch.tensor([0, 1, 0, 1, 0])
    return {
        "train_features": bits(5, 3),
        "train_labels": labels,
        "test_features": bits(2, 3),
        "test_labels": labels[:2],
    }


CALLS: dict[str, Call] = {
    "infer.ELBO": lambda: {"kl_weight": 0.5, "kl_fallback": "sample", "free_bits": 0.1, "num_particles": 2},
    "infer.IWELBO": lambda: {"num_particles": 3, "alpha": 0.5, "gradient": "reparam", "kl_weight": 1.0},
    "infer.AdversarialAutoencoderLoss": lambda: {"kl_weight": 1.0},
    "infer.AdversarialELBO": lambda: {"kl_weight": 1.0, "contrast": 2},
    "infer.BurdaSchedule": lambda: {"optimizer": adam(), "epochs": 10.0, "base": 3.0, "stages": 3},
    "infer.Cosine": lambda: {"end": 0.1},
    "infer.FitSettings": lambda: {
        "valid_every": 1,
        "clip_grad_norm": 1.0,
        "compile": "auto",
        "max_steps": 5,
        "steps_per_epoch": 3,
        "accumulate": 1,
        "labelled_batch_size": 2,
        "critic_steps": 1,
        "lr_schedule": float,
    },
    "infer.GANLoss": dict,
    "infer.MixtureDensityELBO": lambda: {"kl_weight": 1.0, "num_particles": 2, "pairing": "own"},
    "infer.PiecewiseConstant": lambda: {"shares": (0.5,), "factors": (1.0, 0.1)},
    "infer.SemiSupervisedELBO": lambda: {"labelled_weight": 1.0, "classifier_weight": 1.0, "kl_weight": 1.0},
    "infer.StratifiedELBO": lambda: {"kl_weight": 1.0, "num_particles": 2},
    "infer.StratifiedIWELBO": lambda: {"num_particles": 2, "kl_weight": 1.0},
    "infer.TrainStep": lambda: {"pair": vae(), "objective": ELBO(), "optimizer": adam(), "clip_grad_norm": 1.0},
    "infer.VAEGANLoss": lambda: {"kl_weight": 1.0, "feature_weight": 1.0},
    "infer.Wasserstein": lambda: {"penalty": 10.0},
    "infer.active_units": on(vae, threshold=0.01),
    "infer.annealed_log_likelihood": on(vae, x=bits(1, 4), chains=1, temperatures=1, block=1, seed=1),
    "infer.bidirectional": lambda: {
        "pair": vae(),
        "num_data": 2,
        "like": bits(1, 4),
        "num_samples": 60,
        "chains": 1,
        "temperatures": 1,
        "seed": 1,
    },
    "infer.bits_per_symbol": lambda: {
        "pair": sequence_model(),
        "sequence": torch.arange(30) % 3,
        "num_samples": 1,
        "tolerance": 0.0,
        "num_streams": 2,
        "length": 5,
        "seed": 1,
    },
    "infer.classification_error": on(labelled, labels=torch.tensor([0, 1, 0, 1, 0]), site="y", batch_size=3),
    "infer.decay_groups": lambda: {"pair": vae(), "weight_decay": 0.1},
    "infer.fit": lambda: {
        "pair": vae(),
        "data": images(),
        "epochs": 1,
        "batch_size": 3,
        "kl_warmup": 1.0,
        "patience": 1,
        "seed": 1,
        "settings": QUIET,
    },
    "infer.fit_many": lambda: {
        "make_pair": lambda options: vae(),
        "runs": [0, 1],
        "data": bits(6, 4),
        "settings": QUIET,
        "epochs": 1,
        "batch_size": 3,
    },
    "infer.fit_text": lambda: {
        "pair": sequence_model(),
        "text": text(),
        "epochs": 1,
        "length": 3,
        "batch_size": 2,
        "kl_warmup": 0.0,
        "patience": 1,
        "seed": 1,
        "settings": QUIET,
    },
    "infer.gradient_snr": on(vae, objective=ELBO(), num_draws=3, seed=1),
    "infer.knn_error": lambda: {**features(), "k": 3},
    "infer.knn_errors": lambda: {**features(), "ks": [1, 3]},
    "infer.knn_two_sample": lambda: {"real": bits(5, 3), "fake": bits(5, 3), "k": 1},
    "infer.perplexity": lambda: {"likelihood": of_sentences()},
    "infer.log_likelihood": on(
        vae, num_samples=4, proposal="guide", max_bytes=10**6, seed=1, compile="eager", progress=False
    ),
    "infer.posterior_means": on(vae, batch_size=3, num_samples=1),
    "infer.posterior_samples": on(vae, batch_size=3),
    "infer.precision_recall": lambda: {"real": bits(5, 3), "fake": bits(5, 3), "k": 1},
    "infer.reconstruct": on(vae),
    "infer.refine": on(vae, num_samples=60, max_bytes=10**6, seed=1),
    "infer.sample": lambda: {"pair": vae(), "like": 3},
    "infer.sample_means": lambda: {"pair": vae(), "like": 3},
    "infer.unit_variances": on(vae, num_samples=2),
    "plots.adaptive_steps": lambda: {
        "rows": [{"difficulty": 1.0, "mean_step": 1.0, "num_steps_early": 1.0, "error": 0.1}]
    },
    "plots.component_usage": lambda: {"weights": torch.full((4, 2), 0.5), "prior": torch.full((2,), 0.5)},
    "plots.divergence_map": lambda: {"divergence": torch.ones(4), "image_shape": SHAPE},
    "plots.grown_samples": lambda: {"pseudo_inputs": bits(2, 4), "samples": bits(2, 3, 4), "image_shape": SHAPE},
    "plots.image_grid": lambda: {"images": bits(4, 4), "image_shape": SHAPE, "columns": 2},
    "plots.latent_and_decoder_sparsity": lambda: {"latents": bits(5, 2), "weights": bits(3, 2)},
    "plots.likelihood_diagnostics": lambda: {
        "values": -bits(5),
        "k_hat": 0.5 * bits(5),
        "ess": 1.0 + bits(5),
        "limits": (0.7, 30.0),
    },
    "plots.log_likelihood_curve": lambda: {
        "x": [1.0, 2.0],
        "means": [-3.0, -2.0],
        "standard_errors": [0.1, 0.1],
        "label": "x",
    },
    "plots.log_likelihood_histogram": lambda: {"values": -bits(5), "bins": 3, "dimensions": 4},
    "plots.reconstructions": lambda: {
        "originals": bits(4, 4),
        "reconstructed": bits(4, 4),
        "image_shape": SHAPE,
        "columns": 2,
    },
    "plots.sampler_chains": lambda: {"negative_energy": bits(4, 3), "exchange_rates": torch.full((2,), 0.5)},
    "plots.scatter_by_class": lambda: {"points": bits(5, 2), "labels": torch.tensor([0, 1, 0, 1, 0])},
    "plots.side_by_side": lambda: {"groups": {"a": bits(4, 4)}, "image_shape": SHAPE, "columns": 2},
    "plots.sentences": lambda: {"groups": {"samples": ["a cat", "a dog"]}, "width": 40},
    "plots.spectrograms": lambda: {"groups": {"a": sounds()}, "rate": 8000},
    "plots.waveforms": lambda: {"groups": {"a": sounds()}, "rate": 8000},
    "plots.sticks_used": lambda: {"counts": torch.tensor([1, 2, 1]), "num_sticks": 3},
    "plots.svg": lambda: {"figure": image_grid(bits(1, 4), SHAPE), "theme": "auto"},
    "plots.training_curves": lambda: {
        "metrics": [{"epoch": 1.0, "train_bound": -1.0, "valid_bound": -1.0, "kl_weight": 1.0}]
    },
    "plots.traversal_page": lambda: {"images": bits(4, 4), "image_shape": SHAPE, "size": (2, 2)},
    "plots.tsne": lambda: {"latents": bits(5, 2), "labels": torch.tensor([0, 1, 0, 1, 0]), "seed": 1},
    "plots.unit_activities": lambda: {"variances": {"z": bits(3)}, "threshold": 0.01},
}
