"""The variational autoencoder of counts with library sizes."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair
from pyrodgm.nn import log_library_size


class CountVAE(Pair):
    r"""Counts given a latent and a library size, which is observed or latent, and covariates if there are any.

    .. math:: p(x, z, \ell) = p(z)\, p(\ell \mid c)\, p(x \mid z, \ell, c), \qquad
              q(z, \ell \mid x) = q(z \mid x)\, q(\ell \mid x)

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z`` and covariates, and by name with ``log_library`` ``[*, 1]``, returns the
            distribution of ``x``; a :class:`~pyrodgm.likelihoods.NegativeBinomialLikelihood` serves.
        posterior: Called with ``x``, returns the approximate posterior of ``z``. With a
            :class:`~pyrodgm.nn.CountProfile` in front, its last part is what a VampPrior takes.
        library_prior: Called with nothing, or with covariates, returns the distribution of the logarithm of the library
            size, event shape ``[1]``; a :class:`~pyrodgm.priors.LibraryPrior` serves. None: the library size is
            observed, the sum of the counts of each datum.
        library_posterior: Called with ``x``, returns its approximate posterior.

    ``model(x, covariates)`` and ``guide(x, covariates)`` take counts ``[batch, G]`` and covariates ``[batch, C]``, such
    as one-hot batches, which go to decoder and library prior and not to the encoder: z has what they do not say.
    Without covariates they take counts alone. The data plate is ``"data"``, the sites are ``"z"``, ``"l"`` where the
    library size is latent, and ``"x"``.

    With an observed library size the bound is one of log p(x | n), where n is the sum of x: it compares with others of
    that kind alone, and draws take their n from the counts that the model is called with.

    Raises:
        ValueError: If one of ``library_prior`` and ``library_posterior`` comes without the other.

    Source: Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics", Nature Methods 15, 1053.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrodgm.likelihoods import NegativeBinomialLikelihood
        >>> from pyrodgm.nn import CountProfile, mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> posterior = nn.Sequential(CountProfile(1000.0), GaussianPosterior(mlp(64, [32], 16)))
        >>> vae = CountVAE(StandardNormal(8), NegativeBinomialLikelihood(mlp(8, [32], 64), 64), posterior)
        >>> Trace_ELBO().differentiable_loss(vae.model, vae.guide, torch.ones(5, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        library_prior: nn.Module | None = None,
        library_posterior: nn.Module | None = None,
    ) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood, posterior=posterior)
        if (library_prior is None) != (library_posterior is None):
            missing = "library_posterior" if library_posterior is None else "library_prior"
            raise ValueError(f"library_prior and library_posterior must be given together, got {missing}=None")
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        self.library_prior, self.library_posterior = library_prior, library_posterior

    @pyro_method
    def model(self, x: Tensor, covariates: Tensor | None = None) -> None:
        given = () if covariates is None else (covariates,)
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior())
            if self.library_prior is None:
                log_library = log_library_size(x)
            else:
                log_library = pyro.sample("l", self.library_prior(*given))
            pyro.sample("x", self.likelihood(z, *given, log_library=log_library), obs=x)

    @pyro_method
    def guide(self, x: Tensor, covariates: Tensor | None = None) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", self.posterior(x))
            if self.library_posterior is not None:
                pyro.sample("l", self.library_posterior(x))
