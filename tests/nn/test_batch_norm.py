import copy

import pytest
import torch
from torch import nn

from pyrodgm.infer import ELBO, IWELBO, TrainStep
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import BatchNorm, NormalizedDense, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


def test_layer_normalises_over_particles_and_data():
    layer, x = NormalizedDense(5, 3), torch.randn(4, 6, 5)
    y = x @ layer.linear.weight.T
    mean, variance = y.mean((0, 1)), y.var((0, 1), unbiased=False)
    torch.testing.assert_close(layer(x), torch.tanh((y - mean) / (variance + 1e-2).sqrt()))
    torch.testing.assert_close(layer.norm.running_mean, 0.2 * mean)
    torch.testing.assert_close(layer.norm.running_var, 0.8 + 0.2 * y.var((0, 1)))
    layer.eval()
    running = (y - layer.norm.running_mean) / (layer.norm.running_var + 1e-2).sqrt()
    torch.testing.assert_close(layer(x), torch.tanh(running))
    torch.testing.assert_close(layer(x[2, 1]), torch.tanh(running)[2, 1])


def test_defaults_are_those_of_torch():
    ours, theirs, x = BatchNorm(3), nn.BatchNorm1d(3), torch.randn(7, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()))


@pytest.mark.slow
def test_statistics_advance_in_the_traced_step_as_in_the_eager_one():
    torch.manual_seed(0)
    posterior = GaussianPosterior(mlp(6, [8], 4, NormalizedDense))
    first = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 6, NormalizedDense)), posterior)
    x = torch.rand(10, 6).round()
    for objective in (ELBO(), IWELBO(3)):
        states = []
        for mode in ("eager", "traced"):
            pair = copy.deepcopy(first)
            torch.manual_seed(1)
            step = TrainStep(pair, objective, torch.optim.Adam(pair.parameters()), compile=mode)
            for _ in range(3):
                step(x)
            assert step.mode == mode
            states.append(pair.state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        moved = [n for n in states[0] if n.endswith(("running_mean", "running_var"))]
        assert len(moved) == 4
        assert all(not torch.equal(states[0][n], first.state_dict()[n]) for n in moved)
        assert {int(v) for n, v in states[0].items() if n.endswith("num_batches_tracked")} == {3}
