"""Training steps of the estimators that ``train_step.py`` has no case for, with whichever checkout is imported."""

from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import torch

CASES = ("iw5_stl", "iw5_dreg", "stratified", "stratified_iw", "labels", "mixture", "exemplar")


def make_step(case: str, mode: Any, hidden: int = 300, batch_size: int = 100) -> Callable[[], object]:
    """A training step of one estimator with the library that this process imports."""
    if case == "exemplar":
        return exemplar_step(mode, hidden, batch_size)
    from pyrodgm import infer
    from pyrodgm.likelihoods import BernoulliLikelihood
    from pyrodgm.models import VAE, SemiSupervisedVAE
    from pyrodgm.nn import joint_mlp, mlp
    from pyrodgm.posteriors import CategoricalPosterior, GaussianMixturePosterior, GaussianPosterior
    from pyrodgm.priors import StandardNormal

    size, latent, widths = 784, 40, [hidden, hidden]
    x = torch.rand(batch_size, size).round()
    likelihood = BernoulliLikelihood(mlp(latent, widths, size))
    posterior = GaussianPosterior(mlp(size, widths, 2 * latent))
    batch: tuple[torch.Tensor, ...] = (x,)
    pair: torch.nn.Module = VAE(StandardNormal(latent), likelihood, posterior)
    objective: Any
    if case.startswith("iw5"):
        objective = infer.IWELBO(5, gradient=case[4:])
    elif case.startswith("stratified"):
        mixture = GaussianMixturePosterior(mlp(size, widths, 3 * (1 + 2 * latent)), 3)
        pair = VAE(StandardNormal(latent), likelihood, mixture)
        objective = infer.StratifiedELBO() if case == "stratified" else infer.StratifiedIWELBO(2)
    elif case == "labels":
        pair = SemiSupervisedVAE(
            StandardNormal(latent),
            BernoulliLikelihood(joint_mlp([latent, 10], widths[:1], size)),
            CategoricalPosterior(mlp(size, widths, 10)),
            GaussianPosterior(joint_mlp([size, 10], widths[:1], 2 * latent)),
            num_classes=10,
        )
        batch = (x, torch.arange(batch_size // 4) % 10)
        objective = infer.SemiSupervisedELBO()
    elif case == "mixture":
        try:
            from pyrodgm.zoo.pairs import dense_dlgmm
        except ImportError:
            from pyrodgm.models import dense_dlgmm
        pair, objective = dense_dlgmm(size, hidden=(hidden,)), infer.MixtureDensityELBO()
    else:
        raise ValueError(f"case must be one of {', '.join(CASES)}, got {case!r}")
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-3, fused=True)
    step = infer.TrainStep(pair, objective, optimizer, compile=mode)
    return lambda: step(*batch)


def exemplar_step(mode: Any, hidden: int, batch_size: int, count: int = 50_000) -> Callable[[], object]:
    """A step of the two-level VAE under the exemplar prior of ``count`` images, ten neighbours an image."""
    from pyrodgm import infer
    from pyrodgm.priors import ExemplarPrior, training_rows

    try:
        from pyrodgm.zoo.pairs import dense_hvae
    except ImportError:
        from pyrodgm.models import dense_hvae
    images = torch.bernoulli(torch.full((count, 784), 0.13))
    pair = dense_hvae(lambda posterior: ExemplarPrior(posterior, images), hidden=hidden)
    optimizer = infer.AdamNormGrad(pair.parameters(), lr=5e-4, fused=True)
    prepare, context = lambda rows: (images[rows],), partial(training_rows, total=count)
    step = infer.TrainStep(pair, infer.ELBO(), optimizer, compile=mode, prepare=prepare, context=context)
    batches = cycle(torch.randperm(count).split(batch_size))
    return lambda: step(next(batches))
