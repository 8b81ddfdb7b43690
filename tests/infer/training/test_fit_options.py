"""Learning rates by the step, decaying weights, scores of one's own, and the error that all data share."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from toy_pairs import small_vae

from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, FitSettings, NonFiniteError, PiecewiseConstant, decay_groups, fit, log_likelihood
from pyrodgm.infer.training.feeds.make import make_feed
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.infer.training.loop import Training
from pyrodgm.infer.training.settings import Plan, fit_arguments
from pyrodgm.nn import NormalizedDense
from pyrodgm.priors import StandardNormal


def build():
    torch.manual_seed(0)
    return small_vae(6, 2, 5, layer=NormalizedDense)


def data():
    x = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)).round().to(torch.get_default_dtype())
    return Dataset.from_tensors(x[:30], x[30:], binarization="fixed")


class Recorder(torch.optim.SGD):
    """Writes down the rate of each step."""

    def __init__(self, parameters, rates):
        super().__init__(parameters, lr=0.1)
        self.rates = rates

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


SCHEDULE = PiecewiseConstant((0.3, 0.7), (0.1, 1.0, 0.5))


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_the_rate_of_each_step(mode):
    rates = []
    optimizer = partial(Recorder, rates=rates)
    options = {"epochs": 3, "batch_size": 10, "compile": mode, "progress": False}
    fit(build(), data(), **fit_arguments(optimizer=optimizer, lr_schedule=SCHEDULE, **options))
    assert rates == pytest.approx([0.01] * 3 + [0.1] * 4 + [0.05] * 2)


def test_rates_on_the_device_are_changed_in_place():
    rate = torch.tensor(0.1)
    adam = partial(torch.optim.Adam, lr=rate, capturable=False, foreach=False)
    settings = FitSettings(lr_schedule=lambda share: 1.0 - share)
    plan = Plan(objective=ELBO(), optimizer=adam, epochs=3, batch_size=10, settings=settings)
    pair = build()
    training = Training(pair, make_feed(data(), pair, 10), plan)
    training.run_epoch()
    assert training.optimizer.param_groups[0]["lr"].item() == pytest.approx(0.1 * (1 - 2 / 9))
    assert training.rows[0]["learning_rate"] == training.optimizer.param_groups[0]["lr"]


class RisingScore:
    """Stops the run at its second call; how often it was called is private, so runs of it can be resumed."""

    def __init__(self):
        self._calls = 0

    def __call__(self, pair, data):
        self._calls += 1
        if self._calls == 2:
            raise KeyboardInterrupt
        return float(self._calls)


@pytest.mark.slow
def test_resuming_goes_on_with_the_rate_of_the_step(tmp_path):
    options = {"batch_size": 10, "progress": False, "lr_schedule": SCHEDULE}
    rising = iter(range(10))
    whole = build()
    fit(
        whole,
        data(),
        epochs=3,
        **fit_arguments(run_dir=tmp_path / "whole", valid_score=lambda pair, data: next(rising), **options),
    )
    score = RisingScore()
    with pytest.raises(KeyboardInterrupt):
        fit(build(), data(), epochs=3, **fit_arguments(run_dir=tmp_path / "stopped", valid_score=score, **options))
    resumed = build()
    fit(
        resumed,
        data(),
        epochs=3,
        **fit_arguments(run_dir=tmp_path / "stopped", valid_score=score, resume=True, **options),
    )
    same = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    other = {**options, "lr_schedule": None}
    with pytest.raises(ValueError, match=r"lr_schedule\.shares: was \[0\.3.*, is None"):
        fit(build(), data(), epochs=4, **fit_arguments(run_dir=tmp_path / "whole", resume=True, **other))


def test_a_score_chooses_the_weights():
    seen = []

    def score(pair, known):
        assert torch.equal(known.valid.images, data().valid.images)
        seen.append({name: value.clone() for name, value in pair.state_dict().items()})
        noise.append(torch.rand(()).item())
        return [1.0, 3.0, 2.0][len(seen) - 1]

    noise = []
    pair = build()
    result = fit(pair, data(), epochs=3, batch_size=10, settings=FitSettings(valid_score=score, progress=False))
    assert (result.best_epoch, result.best_bound) == (2, 3.0)
    assert [row["valid_score"] for row in result.metrics] == [1.0, 3.0, 2.0]
    assert all(torch.equal(value, seen[1][name]) for name, value in pair.state_dict().items())
    assert len(set(noise)) == 1
    plain = build()
    fit(plain, data().train.images, epochs=3, batch_size=10, settings=FitSettings(progress=False))
    assert all(torch.equal(v, seen[2][n]) for n, v in plain.state_dict().items() if "num_batches" not in n)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_score_that_is_not_finite_ends_training(bad, tmp_path):
    scores = iter([1.0, bad])
    options = {"batch_size": 10, "progress": False, "run_dir": tmp_path}
    first, pair = build(), build()
    fit(first, data(), epochs=1, batch_size=10, settings=FitSettings(progress=False))
    with pytest.raises(NonFiniteError, match=f"in the validation: valid_score is {bad}; the last good state is kept"):
        fit(pair, data(), epochs=3, **fit_arguments(valid_score=lambda pair, data: next(scores), **options))
    assert len(read_csv(tmp_path / "metrics.csv")) == 1
    assert all(torch.equal(a, b) for a, b in zip(pair.parameters(), first.parameters(), strict=True))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="lr_schedule must be None: there is an lr_scheduler"):
        fit(build(), data(), epochs=1, settings=FitSettings(lr_schedule=SCHEDULE, lr_scheduler=lambda optimizer: None))
    with pytest.raises(ValueError, match="factors must be one more than the 1 shares, got 1"):
        PiecewiseConstant((0.5,), (1.0,))
    with pytest.raises(ValueError, match="shares must rise"):
        PiecewiseConstant((0.5, 0.5), (1.0, 2.0, 3.0))


def test_decay_is_half_the_squared_norm_in_the_loss():
    first, second = build(), build()
    x = data().train.images
    factor = 0.05
    groups = decay_groups(first, factor)
    assert {len(g["params"]) for g in groups} == {5, 4}
    assert sum(len(g["params"]) for g in groups) == len(list(first.parameters()))
    adam = torch.optim.Adam(groups, lr=1e-2)
    other = torch.optim.Adam(second.parameters(), lr=1e-2)
    kernels = [p for n, p in second.named_parameters() if n.endswith("weight")]
    for _ in range(3):
        for pair, optimizer, penalty in ((first, adam, 0.0), (second, other, factor)):
            optimizer.zero_grad()
            loss = pair.posterior(x).mean.square().sum() + pair.likelihood(x[:, :2]).mean.sum()
            (loss + 0.5 * penalty * sum(p.square().sum() for p in kernels)).backward()
            optimizer.step()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    made = []
    fit(
        build(),
        x,
        epochs=1,
        optimizer=lambda groups: made.append(torch.optim.Adam(groups)) or made[0],
        settings=FitSettings(parameter_groups=partial(decay_groups, weight_decay=factor), progress=False),
    )
    assert [group["weight_decay"] for group in made[0].param_groups] == [factor, 0.0]


def test_error_of_a_log_partition_is_carried_into_the_standard_error():
    class Estimated(StandardNormal):
        def __init__(self):
            super().__init__(2)
            self.register_buffer("log_partition_error", torch.tensor(0.3))

    pair, x = build(), data().valid.images
    plain = log_likelihood(pair, x, 20, seed=0)
    assert plain.shared_error == 0.0
    pair.prior = Estimated()
    result = log_likelihood(pair, x, 20, seed=0)
    assert torch.equal(result.values, plain.values)
    assert result.shared_error == pytest.approx(0.3)
    assert result.standard_error == pytest.approx(math.hypot(plain.standard_error, 0.3))
    assert plain.standard_error == pytest.approx(float(plain.values.std()) / 10**0.5)


def test_discrete_guides_can_be_evaluated_by_the_estimators():
    import pyro
    import pyro.distributions as dist

    from pyrodgm.infer import IWELBO

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.tensor(0.3)))
            pyro.sample("x", dist.Bernoulli(0.2 + 0.6 * z), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            evidence = 0.3 * 0.8**x * 0.2 ** (1 - x)
            pyro.sample("z", dist.Bernoulli(evidence / (evidence + 0.7 * 0.2**x * 0.8 ** (1 - x))))

    x = torch.tensor([1.0, 0.0])
    evidence = -math.log(0.3 * 0.8 + 0.7 * 0.2) - math.log(0.3 * 0.2 + 0.7 * 0.8)
    with torch.no_grad():
        for objective in (ELBO(), IWELBO(5)):
            loss = objective.differentiable_loss(model, guide, x).item()
            assert loss == pytest.approx(evidence, abs=1e-6)
    with pytest.raises(ValueError, match="has no rsample"):
        IWELBO(5).differentiable_loss(model, guide, x)


def test_elbo_takes_a_divergence_of_ones_own():
    pair, x = build().eval(), data().valid.images
    torch.manual_seed(0)
    plain = ELBO().differentiable_loss(pair.model, pair.guide, x)
    torch.manual_seed(0)
    kl = torch.distributions.kl_divergence

    def doubled(q, p, value):
        return 2.0 * kl(q, p)

    own = ELBO(divergence=doubled).differentiable_loss(pair.model, pair.guide, x)
    torch.testing.assert_close(own - plain, kl(pair.posterior(x), pair.prior()).sum())
    assert isinstance(pair.prior, nn.Module)


def test_options_that_moved_into_the_settings_are_named():
    with pytest.raises(TypeError, match=r"pass settings=FitSettings\(valid_every=\.\.\.\)"):
        fit(build(), data(), epochs=1, valid_every=2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        fit(build(), data(), epochs=1, batchsize=2)
