"""Steps and trainings where the caller has gradients turned off."""

import contextlib
import copy

import pyro
import pytest
import torch
from step_pairs import D, Stateful, Tiny
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit, fit_many


@pytest.mark.parametrize("mode", ["eager", "traced"])
@pytest.mark.parametrize("within", [torch.no_grad, torch.inference_mode])
def test_steps_are_the_same_where_the_caller_has_gradients_turned_off(mode, within):
    def train(context):
        pyro.set_rng_seed(0)
        pair = Stateful()
        with context():
            x = torch.rand(8, D, generator=torch.Generator().manual_seed(1)).round()
            step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters()), clip_grad_norm=1.0, compile=mode)
            losses = [step(x), step(x), step.on_batches([(x[:4],), (x[4:],)])]
            assert torch.is_grad_enabled() == (context is contextlib.nullcontext)
        assert not any(loss.is_inference() for loss in losses)
        return torch.stack(losses), pair.state_dict()

    (losses, state), (expected, wanted) = train(within), train(contextlib.nullcontext)
    assert torch.equal(losses, expected)
    assert all(torch.equal(state[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("within", [torch.no_grad, torch.inference_mode])
def test_trainings_are_the_same_there(within):
    def train(context):
        pyro.set_rng_seed(0)
        pairs, options = [Tiny() for _ in range(3)], {"epochs": 2, "batch_size": 2, "kl_warmup": 1.0}
        settings = [FitSettings(progress=False, compile=mode, valid=torch.ones(4)) for mode in ("eager", "traced")]
        with context():
            x = torch.linspace(-1.0, 1.0, 6)
            results = [fit(pairs[0], x, settings=settings[0], **options)]
            results.append(fit(pairs[1], DataLoader(TensorDataset(x), 2), settings=settings[1], **options))
            results.append(fit_many(lambda seed: pairs[2], [0], x, settings=settings[1], **options)[0].result)
        return [result.metrics for result in results]

    assert train(within) == train(contextlib.nullcontext)


def test_a_pair_that_was_made_in_inference_mode_is_refused_and_its_copy_is_not():
    with torch.inference_mode():
        pair = Tiny()
    copied, x = copy.deepcopy(pair), torch.ones(4, dtype=torch.float64)
    for run_step in (
        lambda pair: TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1), compile="eager")(x),
        lambda pair: fit(pair, x, epochs=1, settings=FitSettings(progress=False, compile="eager")),
    ):
        with pytest.raises(ValueError, match=r"^pair must be made outside of torch.inference_mode .* got '\w+' from"):
            run_step(pair)
        run_step(copied)
