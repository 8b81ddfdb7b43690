"""The variational autoencoder with labels, some of which may be missing."""

import pyro
import torch
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, whole_number
from pyrodgm.models.pair import Pair
from pyrodgm.priors import CategoricalPrior


class SemiSupervisedVAE(Pair):
    r"""Kingma's M2: a class and a latent make the datum; the guide finds the class and then the latent.

    .. math:: p(x, y, z) = p(y)\, p(z)\, p(x \mid z, y), \qquad q(y, z \mid x) = q(y \mid h)\, q(z \mid h, y), \quad
              h = \mathrm{encoder}(x)

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z`` and the one-hot label, returns the distribution of ``x``.
        classifier: Called with h, returns the distribution of ``y`` over 0, ..., C - 1.
        posterior: Called with h and the one-hot label, returns the approximate posterior of ``z``.
        num_classes: Number of classes C.
        label_prior: Called with nothing, returns the distribution of ``y``; uniform by default.
        encoder: Maps ``x`` to h, once for all classes; by default h is ``x``.
        posterior_sees_label: If false, ``posterior`` is called with h alone, q(z | h), as in Nalisnick and Smyth.

    ``model(x, y=None)`` and ``guide(x, y=None)`` take data ``[batch, *event]`` and labels ``[batch]`` (int64), or no
    labels; the data plate is ``"data"``, the sites are ``"y"``, ``"z"`` and ``"x"``. :class:`pyrodgm.infer.ELBO`, and
    ``TraceEnum_ELBO`` after :func:`pyro.infer.config_enumerate`, sum missing labels out exactly, all classes in one
    batched pass; ``Trace_ELBO`` and importance sampling draw them, as ``RenyiELBO`` does without a gradient for the
    classifier. Estimators that need a reparametrised guide (``TraceMeanField_ELBO``, :class:`pyrodgm.infer.IWELBO`)
    refuse it where labels are missing. :class:`pyrodgm.infer.SemiSupervisedELBO` trains on batches of which some data
    are labelled.

    Source: Kingma et al. (2014), arXiv 1406.5298, model M2; Nalisnick and Smyth (2017), arXiv 1605.06197, §4.3.

    Example:
        >>> from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import joint_mlp, mlp
        >>> from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = SemiSupervisedVAE(
        ...     StandardNormal(8),
        ...     BernoulliLikelihood(joint_mlp([8, 10], [32], 64)),
        ...     CategoricalPosterior(mlp(64, [32], 10)),
        ...     GaussianPosterior(joint_mlp([64, 10], [32], 16)),
        ...     num_classes=10,
        ... )
        >>> x, y = torch.zeros(5, 64), torch.arange(5)
        >>> TraceEnum_ELBO(max_plate_nesting=1).loss(vae.model, config_enumerate(vae.guide), x) > 0
        True
        >>> Trace_ELBO().loss(vae.model, vae.guide, x, y) > 0
        True
    """

    def __init__(
        self,
        prior: nn.Module,
        likelihood: nn.Module,
        classifier: nn.Module,
        posterior: nn.Module,
        num_classes: int,
        label_prior: nn.Module | None = None,
        encoder: nn.Module | None = None,
        posterior_sees_label: bool = True,
    ) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood, classifier=classifier, posterior=posterior)
        num_classes = whole_number("num_classes", num_classes, 2)
        self.prior, self.likelihood, self.classifier, self.posterior = prior, likelihood, classifier, posterior
        self.label_prior = CategoricalPrior(num_classes) if label_prior is None else label_prior
        self.encoder = nn.Identity() if encoder is None else encoder
        self.num_classes, self.posterior_sees_label = num_classes, posterior_sees_label

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            y = pyro.sample("y", self.label_prior(), obs=y)
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.likelihood(z, self._one_hot(y, x)), obs=x)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            h = self.encoder(x)
            if y is None:
                y = pyro.sample("y", self.classifier(h))
            labels = (self._one_hot(y, x),) if self.posterior_sees_label else ()
            pyro.sample("z", self.posterior(h, *labels))

    def _one_hot(self, y: Tensor, x: Tensor) -> Tensor:
        """``[*, C]`` in the dtype of ``x``; PyTorch's own one_hot looks at the values, which a traced step cannot."""
        return (y.unsqueeze(-1) == torch.arange(self.num_classes, device=y.device)).to(x.dtype)
