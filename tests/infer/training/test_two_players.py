"""Training of two players in the one loop of `fit`: against a loop by hand, resumed, and refused where it cannot be."""

import copy
import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from adversarial_pairs import CASES, D, autoencoder, data, gan, gaussian
from pyro.infer import Trace_ELBO

from pyrodgm import load
from pyrodgm.datasets import Text
from pyrodgm.infer import (
    ELBO,
    AdversarialAutoencoderLoss,
    AdversarialELBO,
    FitSettings,
    GANLoss,
    NonFiniteError,
    fit,
    fit_many,
    fit_text,
    knn_two_sample,
    log_likelihood,
    sample,
    save_weights,
)
from pyrodgm.infer.training.checkpoint import load_weights
from pyrodgm.likelihoods import ImplicitLikelihood
from pyrodgm.models import GAN
from pyrodgm.nn import Dense, Discriminator, mlp
from pyrodgm.posteriors import ImplicitPosterior
from pyrodgm.priors import StandardNormal
from pyrodgm.testing import check_pair

SGD = partial(torch.optim.SGD, lr=0.1)
ADAM = partial(torch.optim.Adam, lr=1e-3)


@pytest.fixture(params=CASES)
def case(request):
    build, objective = CASES[request.param]
    torch.manual_seed(0)
    return build(), objective


def trained(case, mode="traced", epochs=2, **options):
    build, objective = CASES[case] if isinstance(case, str) else case
    torch.manual_seed(0)
    pair = build()
    settings = FitSettings(compile=mode, progress=False, **options.pop("settings", {}))
    result = fit(pair, data(), epochs=epochs, objective=objective, batch_size=10, settings=settings, **options)
    return result, pair.state_dict()


NO_DENSITY = ("avb-vampprior", "aae-implicit-vampprior")  # priors that are left as they are


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


TRACED = (
    "gan-Wasserstein",
    "aae-point",
    "aae-sticks",
    "avb-vampprior",
    "avb-mixture",
    "avb-contrast",
    "vae_gan-sticks",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACED)
def test_traced_steps_equal_eager_ones_and_train_both_players(name):
    (eager, eager_state), (traced, state) = (trained(name, mode) for mode in ("eager", "traced"))
    assert same(eager_state, state)
    assert [{**row, "valid_bound": 0} for row in eager.metrics] == [{**row, "valid_bound": 0} for row in traced.metrics]
    torch.manual_seed(0)
    before = dict(CASES[name][0]().named_parameters())
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], state[key])}
    learned = {key.split(".")[0] for key in before} - ({"prior"} if name in NO_DENSITY else set())
    assert moved == learned


def test_steps_are_those_of_a_loop_by_hand():
    torch.manual_seed(0)
    pair = gan()
    twin, x = copy.deepcopy(pair), data()[:10]
    settings = FitSettings(critic_optimizer=SGD, critic_steps=2, compile="eager", progress=False, max_steps=3)
    result = fit(pair, x, objective=GANLoss(), optimizer=ADAM, batch_size=10, seed=5, settings=settings)
    assert (result.metrics[-1]["step"], result.best_epoch) == (3, 3)  # a round a pass: the second batch ends the next
    d, g = twin.discriminator, twin.likelihood.net
    critic, rest = SGD(d.parameters()), ADAM(g.parameters())
    torch.manual_seed(5)
    for row in result.metrics:
        for _ in range(2):
            torch.randperm(10)  # the order of a pass
            with torch.no_grad():
                fake = g(torch.randn(10, 3))
            loss_d = F.binary_cross_entropy_with_logits(d(x), torch.ones(10))
            loss_d = loss_d + F.binary_cross_entropy_with_logits(d(fake), torch.zeros(10))
            critic.zero_grad()
            loss_d.backward()
            critic.step()
        loss_g = F.binary_cross_entropy_with_logits(d(g(torch.randn(10, 3))), torch.ones(10))
        rest.zero_grad()
        loss_g.backward()
        rest.step()
        assert -row["train_bound"] == pytest.approx(loss_g.item(), rel=1e-6)
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(pair.parameters(), twin.parameters(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan-Wasserstein", "aae-vampprior", "avb-contrast"])
def test_a_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    options = {"settings": {"critic_steps": 2, "critic_optimizer": SGD}}
    whole, state = trained(name, epochs=4, run_dir=tmp_path / "whole", **copy.deepcopy(options))
    trained(name, epochs=2, run_dir=tmp_path / "parts", **copy.deepcopy(options))
    build, objective = CASES[name]
    torch.manual_seed(1)
    pair = build()  # other weights, which the state replaces
    settings = FitSettings(compile="traced", progress=False, **options["settings"])
    result = fit(
        pair, data(), epochs=4, objective=objective, batch_size=10, run_dir=tmp_path / "parts", resume=True,
        settings=settings,
    )  # fmt: skip
    assert same(pair.state_dict(), state)
    for file in ("metrics.csv", "best.safetensors"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert result.best_epoch == whole.best_epoch == 4
    assert same(load(tmp_path / "parts").state_dict(), state)
    with pytest.raises(ValueError, match="critic_steps: was 2, is 1"):
        trained(name, epochs=5, run_dir=tmp_path / "parts", resume=True)


@pytest.mark.slow
def test_the_schedule_reaches_both_optimisers():
    """From the second step on the rates are 0, and nothing moves."""
    once, state = trained("gan-Hinge", epochs=1, settings={"max_steps": 1, "critic_optimizer": SGD})
    assert once.metrics[-1]["step"] == 1
    twice = trained("gan-Hinge", epochs=1, settings={"max_steps": 2, "critic_optimizer": SGD, "lr_schedule": _stop})[1]
    assert same(state, twice)


def _stop(share):
    return 1.0 if share < 0.5 else 0.0


def test_clipping_is_of_each_player():
    small = trained("gan-Hinge", epochs=1, optimizer=SGD, settings={"max_steps": 1, "clip_grad_norm": 1e-3})[1]
    torch.manual_seed(0)
    before = gan().state_dict()
    for player in ("discriminator", "likelihood"):
        moved = sum((small[k] - before[k]).square().sum() for k in before if k.startswith(player)).sqrt()
        assert float(moved) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_a_score_chooses_weights_where_there_is_one():
    scores = iter([1.0, 3.0, 2.0])
    result, _ = trained("gan-Hinge", epochs=3, patience=2, settings={"valid_score": lambda pair, x: next(scores)})
    assert (result.best_epoch, result.best_bound) == (2, 3.0)


@pytest.mark.slow
def test_not_a_number_is_found_in_either_player():
    x = data()
    for part in ("discriminator", "likelihood"):
        pair = gan()
        with torch.no_grad():
            next(getattr(pair, part).parameters())[0] = math.nan
        with pytest.raises(NonFiniteError, match=f"value of {part}"):
            fit(pair, x, epochs=1, objective=GANLoss(), settings=FitSettings(progress=False))


REFUSED = {
    "accumulate": {"settings": {"accumulate": 2}},
    "lr_scheduler": {"settings": {"lr_scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1)}},
    "precision": {"settings": {"precision": "fp16-mixed"}},
    "labelled_batch_size": {"settings": {"labelled_batch_size": 3}},
    "parameter_groups": {"settings": {"parameter_groups": lambda pair: list(pair.parameters())}},
    "patience": {"patience": 2},
    "kl_warmup": {"kl_warmup": 1.0},
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_without_meaning_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        trained("gan-Hinge", **copy.deepcopy(REFUSED[name]))


def test_settings_of_two_players_are_refused_for_one():
    for name, value in (("critic_steps", 2), ("critic_optimizer", SGD)):
        with pytest.raises(ValueError, match=f"^{name} must be .* where ELBO has one player"):
            fit(gan(), data(), epochs=1, objective=ELBO(), settings=FitSettings(**{name: value}))
    with pytest.raises(ValueError, match="critic_steps must be at least 1, got 0"):
        FitSettings(critic_steps=0)


def test_other_ways_to_train_refuse_two_players():
    with pytest.raises(ValueError, match="objective must be one of a single player where models share a graph"):
        fit_many(lambda seed: gan(), [0, 1], data(), epochs=1, objective=GANLoss())
    text = Text("abc", torch.arange(40) % 3, torch.arange(9) % 3, torch.arange(9) % 3, "abc")
    with pytest.raises(ValueError, match="objective must be one of a single player for a text"):
        fit_text(gan(), text, epochs=1, objective=GANLoss())


def test_pairs_without_two_players_are_refused():
    plain = autoencoder("standard", gaussian)
    plain.discriminator.requires_grad_(False)
    with pytest.raises(ValueError, match="parameters to train in its discriminator"):
        fit(plain, data(), epochs=1, objective=AdversarialELBO())
    del plain.discriminator
    with pytest.raises(TypeError, match="must have a module discriminator for AdversarialELBO"):
        fit(plain, data(), epochs=1, objective=AdversarialELBO())
    with pytest.raises(ValueError, match="call its method of with the pair"):
        GANLoss().differentiable_loss(gan().model, gan().guide, data())


def test_states_copies_and_draws(case, tmp_path):
    pair, _ = case
    twin = copy.deepcopy(pair)
    assert not {p.data_ptr() for p in pair.parameters()} & {p.data_ptr() for p in twin.parameters()}
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    save_weights(pair.state_dict(), tmp_path / "weights.safetensors")
    load_weights(twin, tmp_path / "weights.safetensors")
    assert same(twin.state_dict(), pair.state_dict())
    assert sample(pair, 7).shape == (7, D)
    if type(pair).__name__ == "AdversarialVAE" and not isinstance(pair.posterior, ImplicitPosterior):
        check_pair(pair, data()[:5], traced=False)
        assert Trace_ELBO().loss(pair.model, pair.guide, data()) > 0


@pytest.mark.slow
def test_bounds_and_likelihoods_refuse_missing_densities_by_name():
    pair, x = gan(), data()
    for evaluate in (log_likelihood, lambda pair, x: ELBO()(pair.model, pair.guide)(x)):
        with pytest.raises(NotImplementedError, match=r"site 'x' .* density"):
            evaluate(pair, x)
    with pytest.raises(NotImplementedError, match=re.escape("with_density(scale)")):
        log_likelihood(pair, x)
    unknown = CASES["avb-vampprior"][0]()
    with pytest.raises(NotImplementedError, match="site 'z' has draws alone"):
        log_likelihood(unknown, x)
    point = CASES["avb-standard"][0]()
    with pytest.raises(NotImplementedError, match=r"site 'z' has draws alone.*proposal='refined'"):
        log_likelihood(point, x, proposal="guide")
    assert torch.isfinite(
        log_likelihood(point, x[:3], 100, seed=0).values
    ).all()  # the refined proposal needs draws alone


@pytest.mark.slow
def test_half_precision_and_compiled_steps():
    half = trained("gan-NonSaturating", settings={"precision": "bf16-mixed"})[0]
    assert math.isfinite(half.metrics[-1]["critic_loss"])
    compiled, traced = (trained("gan-Wasserstein", mode, epochs=1)[1] for mode in ("compiled", "traced"))
    assert all(torch.allclose(compiled[name], traced[name], rtol=1e-6, atol=1e-8) for name in traced)


@pytest.mark.slow
def test_a_gan_finds_both_modes_of_a_mixture():
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    x = torch.cat([torch.randn(500, 1) - 4.0, torch.randn(500, 1) + 4.0])
    pair = gan_of_line()
    adam = partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.999), fused=True)
    settings = FitSettings(progress=False)
    fit(pair, x, epochs=60, objective=GANLoss(), optimizer=adam, batch_size=100, settings=settings)
    torch.manual_seed(1)
    draws = sample(pair, 2000)
    assert 0.35 < float((draws > 0).float().mean()) < 0.65
    assert float(draws[draws > 0].mean()) == pytest.approx(4.0, abs=0.7)
    assert float(draws[draws < 0].mean()) == pytest.approx(-4.0, abs=0.7)
    assert float((draws.abs() < 1.5).float().mean()) < 0.1


def gan_of_line():
    net = mlp(2, [32, 32], 1, layer=Dense)
    return GAN(StandardNormal(2), ImplicitLikelihood(net), Discriminator.dense(1, [32, 32]))


@pytest.mark.slow
def test_latents_of_an_adversarial_autoencoder_approach_the_prior():
    torch.manual_seed(0)
    pair = autoencoder("mixture", gaussian)
    with torch.no_grad():
        pair.posterior.net[-1].bias.add_(2.0)
    x = (torch.rand(400, D) < torch.rand(400, 1)).to(torch.get_default_dtype())

    def accuracy():
        with torch.no_grad():
            return knn_two_sample(pair.prior().expand([400]).sample(), pair.posterior(x).sample(), k=5).accuracy

    before = accuracy()
    adam = partial(torch.optim.Adam, lr=3e-3, betas=(0.5, 0.999))
    fit(pair, x, epochs=40, objective=AdversarialAutoencoderLoss(2.0), optimizer=adam, batch_size=50,
        settings=FitSettings(progress=False))  # fmt: skip
    assert before > 0.8
    assert accuracy() < 0.65
