"""Published learning-rate schedules, as training sees them."""

from functools import partial

import pytest
import torch

from pyrodgm.infer import BurdaSchedule, fit
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


def optimizer(lr=1e-3):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=lr)


def test_published_stages():
    """3^i epochs at 1e-3 * 10^(-i / 7), counted out one by one."""
    sgd = optimizer()
    schedule = BurdaSchedule(sgd)
    for stage in range(8):
        for _ in range(3**stage):
            assert sgd.param_groups[0]["lr"] == pytest.approx(1e-3 * 10 ** (-stage / 7), rel=1e-12)
            sgd.step()
            schedule.step()
    assert schedule.last_epoch == 3280
    assert sgd.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_shorter_schedule_keeps_its_proportions():
    long, short = BurdaSchedule(optimizer()), BurdaSchedule(optimizer(), epochs=328)
    assert [short.rate(epoch) for epoch in range(0, 328, 10)] == [long.rate(10 * epoch) for epoch in range(0, 328, 10)]
    assert BurdaSchedule(optimizer(), base=2).ends[-1] == 255


@pytest.mark.slow
def test_it_is_resumed_where_it_was(tmp_path):
    x = torch.rand(40, 6).round()

    def train(epochs, **options):
        torch.manual_seed(0)
        vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [4], 6)), GaussianPosterior(mlp(6, [4], 4)))
        schedule = partial(BurdaSchedule, epochs=13, stages=3)
        return fit(
            vae, x, epochs=epochs, **fit_arguments(batch_size=20, lr_scheduler=schedule, progress=False, **options)
        ).metrics

    train(3, run_dir=tmp_path)
    rates = [row["learning_rate"] for row in train(6, run_dir=tmp_path, resume=True)]
    assert rates == [row["learning_rate"] for row in train(6)]
    assert rates == pytest.approx([1e-3] + 3 * [1e-3 * 10**-0.5] + 2 * [1e-4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base": 1}, "base must be finite and greater than 1, got 1"),
        ({"stages": 1}, "stages must be at least 2, got 1"),
        ({"epochs": 0}, "epochs must be finite and greater than 0, got 0"),
    ],
    ids=["base", "stages", "epochs"],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        BurdaSchedule(optimizer(), **arguments)
