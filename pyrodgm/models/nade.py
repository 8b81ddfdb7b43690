"""The neural autoregressive density estimator."""

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import pyro_method
from torch import Tensor

from pyrodgm.models.pair import Pair
from pyrodgm.nn.nade import NADENetwork


class NADE(Pair):
    r"""Binary pixels in a fixed order, each given those before it; no latents, so that the likelihood is exact.

    .. math:: p(x) = \prod_d \mathrm{Bernoulli}\bigl(x_d; \mathrm{sigmoid}(V_d \cdot h_d + b_d)\bigr), \qquad
        h_d = \mathrm{sigmoid}\Bigl(c + \sum_{j<d} W_j x_j\Bigr)

    All pixels are computed in one pass. The observed site "x" is that of the given data, so ``poutine.uncondition``
    draws each pixel given the data's pixels before it; :meth:`sample` draws whole images.

    Args:
        features: D, binary pixels in their order.
        hidden: H, hidden units.
        init: "sum" for the running sum above, "lstm" for an LSTM over the pixels in its place.
        mean: mean of the training images, ``[D]``, at which an untrained model starts.

    Source: Larochelle and Murray (2011), "The neural autoregressive distribution estimator", AISTATS.

    Example:
        >>> nade = NADE(64, 20)
        >>> nade.log_likelihood(torch.zeros(5, 64)).shape, nade.sample(3).shape
        (torch.Size([5]), torch.Size([3, 64]))
    """

    def __init__(self, features: int, hidden: int, *, init: str = "sum", mean: Tensor | None = None) -> None:
        super().__init__()
        self.network = NADENetwork(features, hidden, init=init, mean=mean)

    def _distribution(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.network(x)[0].squeeze(-1)).to_event(1)

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("x", self._distribution(x), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        pass

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, *, batch_size: int = 100) -> Tensor:
        """Exact log p(x) of each image, ``[N]`` in nats, of images ``[N, D]``."""
        return torch.cat([self._distribution(part).log_prob(part) for part in x.split(batch_size)])

    def sample(self, count: int) -> Tensor:
        """Images drawn from the model, ``[count, D]``."""
        return self.network.sample(count, lambda raw: raw.new_ones(count, 1))
