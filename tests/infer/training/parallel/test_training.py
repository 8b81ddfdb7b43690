"""Training by 1, 2, 3 and 4 real processes: the same weights, one run folder, one set of decisions."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from process_group import run_processes
from pyro.nn import pyro_method
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import ELBO, IWELBO, FitSettings, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior, VampPrior
from pyrodgm.processes import alone

D, ROWS = 10, 43
IMAGES = torch.rand(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def data():
    train, valid = Split(IMAGES), Split(IMAGES[:17].round())
    return Dataset("made", train, valid, valid, (1, D), "grey", "dynamic")


def stateful():
    """Batch normalisation of rows and of pseudo-inputs, some of which leave [0, 1], and dropout."""
    encoder = nn.Sequential(nn.Linear(D, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 6))
    posterior = GaussianPosterior(encoder)
    likelihood = BernoulliLikelihood(mlp(3, [5], D))
    return VAE(VampPrior.around_mean(posterior, 4, torch.linspace(0.0, 1.0, D)), likelihood, posterior)


def exemplar():
    posterior = GaussianPosterior(mlp(D, [6], 6))
    return VAE(ExemplarPrior(posterior, IMAGES, num_neighbours=3), BernoulliLikelihood(mlp(3, [5], D)), posterior)


class GammaPair(Pair):
    """Draws by rejection, which take as many random numbers as the values ask for; and a chain that draws too."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(D, 4)
        self.decoder = nn.Linear(2, D)
        self.register_buffer("chain", torch.zeros(3))

    @pyro_method
    def model(self, x):
        with torch.no_grad():
            self.chain.mul_(0.5).add_(torch.randn_like(self.chain))
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Gamma(torch.ones(2), 1.0).to_event(1)) + self.chain.mean()
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        concentration, rate = (self.network(x).exp() + 0.3).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Gamma(concentration, rate).to_event(1))


def trained(make, kind="images", steps_compile="traced", objective=None, **settings):
    torch.manual_seed(0)
    pair = make()
    options = {"compile": steps_compile, "clip_grad_norm": 1.0, "progress": False, **settings}
    given = data()
    if kind == "loader":
        given = DataLoader(TensorDataset(IMAGES.round()), batch_size=10, shuffle=True)
        options["valid"] = IMAGES[:5].round()
    result = fit(
        pair, given, epochs=2, batch_size=10, kl_warmup=1.5, objective=objective, settings=FitSettings(**options),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    )  # fmt: skip
    return {name: value.clone() for name, value in pair.state_dict().items()}, result.metrics


CASES = {
    "batch norm and dropout": ((stateful, "images", "traced", ELBO(free_bits=0.1)), (2,)),
    "eager, accumulated": ((stateful, "images", "eager", None), (1, 3, 4)),
    "importance weights, labels by a loader": ((lambda: stateful().eval(), "loader", "traced", IWELBO(3)), (2,)),
    "draws by rejection": ((GammaPair,), (2,)),
    "nearest exemplars": ((exemplar,), (2,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_weights_do_not_depend_on_the_number_of_processes(case, tmp_path):
    arguments, sizes = CASES[case]
    options = {"accumulate": 2} if "accumulated" in case else {}
    expected, rows = trained(*arguments, **options)
    for size in sizes:
        for weights, metrics in run_processes(size, lambda rank: trained(*arguments, **options), tmp_path):
            for name, value in weights.items():
                torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-12)
            for row, other in zip(rows, metrics, strict=True):
                assert row == pytest.approx(other, rel=1e-6)


class GlobalPair(Pair):
    """A latent of the whole data set, outside of the plate of rows."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(D))

    @pyro_method
    def model(self, x):
        center = pyro.sample("center", dist.Normal(0.0, 1.0).expand([D]).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(center, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        pyro.sample("center", dist.Normal(self.loc, 0.1).to_event(1))


@pytest.mark.slow
def test_a_site_of_no_row_would_count_once_a_process(tmp_path):
    def refused(rank):
        with pytest.raises(ValueError, match=r"site 'center' must be in a plate over .* got plates {}"):
            trained(GlobalPair)
        with alone():
            return trained(GlobalPair)

    (first, _), (second, _) = run_processes(2, refused, tmp_path)
    assert torch.equal(first["loc"], second["loc"])
    assert (first["loc"] != 0).all()
