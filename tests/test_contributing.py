"""The additions in CONTRIBUTING.md run as they stand there, one after the other."""

import re

import pytest
import torch
from fresh_process import ROOT

from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, FitSettings, fit
from pyrodgm.infer.training.fit import run
from pyrodgm.infer.training.settings import Plan

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def added():
    """The names that the blocks define."""
    names = {"__name__": "contributing"}
    for block in BLOCKS:
        exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


def test_distribution_has_the_density_of_its_draws(added):
    rayleigh = added["Rayleigh"](torch.tensor([0.5, 2.0]))
    value = torch.linspace(1e-3, 20.0, 20001).unsqueeze(-1)
    mass = rayleigh.log_prob(value).exp()
    torch.testing.assert_close(torch.trapezoid(mass, value, dim=0), torch.ones(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.trapezoid(value * mass, value, dim=0), rayleigh.mean, atol=1e-4, rtol=0)
    draws = rayleigh.expand((3, 2)).rsample((20_000,))
    torch.testing.assert_close(draws.mean((0, 1)), rayleigh.mean, rtol=0.02, atol=0)


@pytest.mark.slow
def test_system_trains_and_is_evaluated_with_the_figure_of_its_prior(added, tmp_path):
    torch.set_default_dtype(torch.float32)
    sizes = {"latent": 2, "hidden": (8,), "epochs": 2, "num_samples": 20, "num_images": 10}
    config = added["Config"](data="digits", run=str(tmp_path / "run"), **sizes)
    (text,) = added["main"](config)
    assert re.search(r"digits +-\d\d\.\d\d ± ", text)
    assert (tmp_path / "run" / "figures" / "prior_means.png").exists()


@pytest.mark.slow
def test_data_set_and_feed_train_the_pair(added):
    data = added["load_bars"]()
    assert (len(data.train), len(data.valid), len(data.test), data.image_shape) == (800, 100, 100, (1, 4, 4))
    assert isinstance(data, Dataset)
    pair = added["build"](added["Config"](latent=2, hidden=(16,)), data).double()
    images = data.train.images.double()
    plan = Plan(objective=ELBO(), optimizer=torch.optim.Adam, epochs=3, settings=FitSettings(progress=False))
    result = run(pair, lambda: (added["mirrored_feed"](images, 4, 50), None), plan, None, False, dict)
    assert result.metrics[-1]["train_bound"] > result.metrics[0]["train_bound"]
    assert len(result.metrics) == 3
    plain = fit(pair, data.to(dtype=torch.float64), epochs=1, settings=FitSettings(progress=False))
    assert plain.best_bound < 0
