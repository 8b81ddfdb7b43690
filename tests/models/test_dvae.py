"""DVAE, DVAE++ and DVAE#: evidence by enumeration and quadrature, the training step, what is saved."""

import copy
import itertools
from functools import partial
from typing import get_args

import pytest
import torch
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.distributions import bits_divergence
from pyrodgm.infer import ELBO, IWELBO, FitSettings, TrainStep, decay_groups, fit, log_likelihood
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.zoo.pairs import STRUCTURES, Method, Structure, discrete_vae

METHODS = get_args(Method)
DENSITIES = [m for m in METHODS if m != "gumbolt"]  # whose latents have one; see ContinuedBernoulli
PIXELS = 5


def build(method, groups=1, units=4, hidden=(6,), beta=5.0, sampler="exact", seed=0, **machine):
    """A small pair away from its start, where the machine would be uniform."""
    torch.manual_seed(seed)
    mean = torch.linspace(0.1, 0.9, PIXELS)
    pair = discrete_vae(method, Structure(groups, units, hidden), mean, beta, sampler=sampler, **machine)
    with torch.no_grad():
        for parameter in pair.prior.parameters():
            parameter.add_(torch.randn_like(parameter))
    return pair


def objective(method, k=1):
    if method.startswith(("dvaes", "gumbolt")):
        return IWELBO(k)
    return ELBO(num_particles=k, vectorize_particles=True, max_plate_nesting=1, divergence=bits_divergence)


def images(count=4):
    generator = torch.Generator().manual_seed(5)
    return torch.rand(count, PIXELS, generator=generator).round().to(torch.get_default_dtype())


def states(count):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=count)), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("1-layer-lin", [[784, 200]]),
        ("1-layer-nonlin", [[784, 200, 200, 200]]),
        ("2-layer-nonlin", [[784, 200, 200, 200], [984, 200, 200, 200]]),
        (
            "4-layer-nonlin",
            [[784, 200, 200, 100], [884, 200, 200, 100], [984, 200, 200, 100], [1084, 200, 200, 100]],
        ),
    ],
)
@pytest.mark.parametrize("method", ["dvaes_power", "dvaes_gi"])
def test_structures_are_the_published_ones(name, sizes, method):
    pair = discrete_vae(method, name, torch.full((784,), 0.1), 30.0, num_chains=2)
    total = sum(size[-1] for size in sizes)

    def widths(net):
        linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
        assert all(a.out_features == b.in_features for a, b in itertools.pairwise(linears))
        return [linears[0].in_features, *(m.out_features for m in linears)]

    factor = 2 if method == "dvaes_gi" else 1
    assert [widths(net) for net in pair.posterior.nets] == [[*s[:-1], factor * s[-1]] for s in sizes]
    assert widths(pair.likelihood.net) == ([total, 784] if name.endswith("-lin") else [total, 200, 200, 784])
    assert pair.prior.weights.shape == (total // 2, total // 2)
    assert not pair.prior.weights.any()
    norms = [m for m in pair.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == (0 if name.endswith("-lin") else 2 * (len(sizes) + 1))
    assert {(m.momentum, m.eps) for m in norms} <= {(0.2, 1e-2)}
    assert torch.allclose(pair.likelihood.bias, torch.full((784,), 0.1).logit())
    assert sum(p.numel() for g in decay_groups(pair, 1e-4)[1:] for p in g["params"]) == sum(
        p.numel() for n, p in pair.named_parameters() if n.endswith(("bias", "raw_scale"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("method", ["dvae_spike_exp", "dvaes_gi", "dvaes_power"])
def test_evidence_of_the_bits_is_exact(method, groups):
    """Importance sampling of the discrete pair against the sum over all states, and a bound below both."""
    pair = build(method, groups, units=4 // groups).eval()
    x, z = images(), states(4)
    with torch.no_grad():
        log_prior = pair.prior.discrete().log_prob(z)
        log_given = pair.likelihood(z.unsqueeze(1)).log_prob(x)
        exact = (log_prior.unsqueeze(1) + log_given).logsumexp(0)
    result = log_likelihood(pair.discrete(), x, 20_000, seed=1)
    spread = (20_000 / result.ess - 1).clamp(min=1e-9).sqrt() / 20_000**0.5
    assert ((result.values - exact).abs() < 5 * spread).all()
    assert result.shared_error == 0.0
    with torch.no_grad():
        view = pair.discrete()
        bound = -ELBO(num_particles=2000, vectorize_particles=True).differentiable_loss(view.model, view.guide, x)
    assert bound < exact.sum()


def grid(method, count=400):
    """Points and volumes of one latent; fine at the ends, where some densities are steep; with the point of mass."""
    if method in ("dvaes_gi", "dvaes_gauss"):
        points = torch.linspace(-2.5, 3.5, count)
        return points, torch.full((count,), (points[1] - points[0]).item())
    t = torch.linspace(-3.6, 3.6, count)
    points = torch.sigmoid(torch.pi * t.sinh())
    volumes = points * (1 - points) * torch.pi * t.cosh() * (t[1] - t[0])
    if method == "dvae_spike_exp":
        return torch.cat([torch.zeros(1), points]), torch.cat([torch.ones(1), volumes])
    return points, volumes


@pytest.mark.slow
@pytest.mark.parametrize("method", DENSITIES)
def test_evidence_of_the_smoothed_latents(method):
    """Importance sampling with the posterior against quadrature over the two latents, under the exact prior."""
    pair = build(method, units=2, beta=3.0 if "gi" not in method else 12.0).eval()
    points, volumes = grid(method)
    z = torch.cartesian_prod(points, points)
    volume = torch.cartesian_prod(volumes, volumes).prod(-1)
    x = images(3)
    with torch.no_grad():
        prior = pair.prior().log_prob(z)
        assert (prior.exp() * volume).sum().item() == pytest.approx(1.0, abs=2e-3)
        exact = ((prior.unsqueeze(1) + pair.likelihood(z.unsqueeze(1)).log_prob(x)).exp() * volume.unsqueeze(1)).sum(0)
    result = log_likelihood(pair, x, 20_000, seed=2)
    spread = (20_000 / result.ess - 1).sqrt() / 20_000**0.5
    assert ((result.values - exact.log()).abs() < 5 * spread + 2e-3).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dvae_spike_exp", "dvaepp_power", "dvaes_gi", "dvaes_power"])
def test_bound_of_each_method_is_below_the_evidence_and_rises_with_importance_samples(method):
    pair = build(method, groups=2, units=2).eval()
    x = images()
    evidence = log_likelihood(pair, x, 20_000, seed=3).values.sum()
    with torch.no_grad():

        def bound(k, repeats):
            many = x.repeat(repeats, 1)  # in evaluation mode data do not depend on each other
            return -objective(method, k).differentiable_loss(pair.model, pair.guide, many) / repeats

        one, many = bound(1, 200), bound(50, 30)
    assert one < evidence + 0.05
    if method.startswith("dvaes"):
        assert one < many - 0.05
    assert many < evidence + 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "sampler"),
    [
        ("dvae_spike_exp", "pcd"),
        ("dvaes_gi", "pcd"),
        ("dvaes_power", "pa"),
        ("gumbolt", "pcd"),
    ],
)
def test_step_with_chains_and_statistics_is_traced_bit_for_bit(method, sampler):
    states = []
    for mode in ("eager", "traced"):
        pair = build(method, groups=2, sampler=sampler, num_chains=20, num_sweeps=2)
        before = copy.deepcopy(pair.state_dict())
        adam = torch.optim.Adam(decay_groups(pair, 1e-4), lr=3e-3, eps=1e-3)
        step = TrainStep(pair, objective(method, 3), adam, compile=mode)
        torch.manual_seed(1)
        losses = [step(images(10)).item() for _ in range(4)]
        assert step.mode == mode
        states.append((losses, pair.state_dict()))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(states[0][1][name], value) for name, value in states[1][1].items())
    moved = {name for name, value in states[0][1].items() if not torch.equal(value, before[name])}
    assert {name for name, _ in pair.named_parameters()} <= moved
    assert "prior.chains" in moved
    assert any(name.endswith("running_mean") for name in moved)


@pytest.mark.slow
def test_chains_are_saved_and_a_run_goes_on_with_them(tmp_path):
    data = Dataset.from_tensors(images(20), images(10), binarization="fixed")
    options = {
        "objective": IWELBO(2),
        "batch_size": 10,
        "progress": False,
        "optimizer": partial(torch.optim.Adam, lr=3e-3),
        "parameter_groups": partial(decay_groups, weight_decay=1e-4),
    }
    make = partial(build, "dvaes_power", 2, sampler="pcd", num_chains=20, num_sweeps=2)
    fit(make(), data, epochs=1, **fit_arguments(run_dir=tmp_path, **options))
    resumed, whole = make(seed=7), make()
    fit(resumed, data, epochs=3, **fit_arguments(run_dir=tmp_path, resume=True, **options))
    fit(whole, data, epochs=3, **fit_arguments(**options))
    assert all(torch.equal(v, whole.state_dict()[n]) for n, v in resumed.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dvae_spike_exp", "dvaepp_exp", "gumbolt"])
def test_training_raises_the_likelihood_of_the_bits(method):
    x = (torch.rand(300, 1) > 0.5).to(torch.float64).expand(300, PIXELS).contiguous()
    data = Dataset.from_tensors(x[:200], x[200:], binarization="fixed")
    # the mean of all pixels is given, so that each must be learned from the others
    pair = build(method, groups=2, sampler="pcd", num_chains=100, num_sweeps=5)

    def score(pair, data):
        return log_likelihood(pair.discrete(), data.valid.images, 50, progress=False).mean

    result = fit(
        pair,
        data,
        epochs=8,
        batch_size=20,
        objective=objective(method, 2),
        optimizer=partial(torch.optim.Adam, lr=2e-2),
        kl_warmup=4,
        settings=FitSettings(valid_score=score, valid_every=4, progress=False),
    )
    assert result.best_bound > -2.0  # independent pixels would cost 3.5 nats, the one bit 0.7


def test_discrete_pair_shares_everything():
    pair = build("dvaes_exp", 2)
    view = pair.discrete()
    ours, theirs = set(map(id, pair.parameters())), set(map(id, view.parameters()))
    assert ours == theirs
    assert view.training
    pair.eval()
    assert not pair.discrete().training
    log_likelihood(pair.discrete(), images(), 5)
    assert not pair.likelihood.training
    pair.train()
    log_likelihood(pair.discrete(), images(), 5)
    assert pair.likelihood.training


@pytest.mark.slow
def test_error_of_the_log_partition_is_in_the_standard_error():
    pair = build("dvaes_exp", units=40, sampler="pcd", num_chains=50)
    with torch.no_grad():
        pair.prior.weights.mul_(2.0)
    result = log_likelihood(pair.discrete(), images(20), 50, seed=0)
    assert result.shared_error == pair.prior.log_partition_error.item() > 0
    spread = result.values.std().item() / 20**0.5
    assert result.standard_error == pytest.approx((spread**2 + result.shared_error**2) ** 0.5)


def test_unknown_names_are_refused():
    mean = torch.full((4,), 0.5)
    with pytest.raises(ValueError, match=r"method must be one of dvae_spike_exp, dvaepp_exp, .*, got 'dvae'"):
        discrete_vae("dvae", "1-layer-lin", mean, 5.0)
    with pytest.raises(ValueError, match=r"structure must be one of 1-layer-lin, .*, got '3-layer'"):
        discrete_vae("dvaes_exp", "3-layer", mean, 5.0)
    assert set(STRUCTURES) == {"1-layer-lin", "1-layer-nonlin", "2-layer-nonlin", "4-layer-nonlin"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dvaes_exp", "gumbolt"])
def test_latents_of_several_states(method):
    """The evidence of the one-hot pair against the sum over all its states, and steps with chains."""
    pair = build(method, groups=2, units=2, num_states=3).eval()
    assert pair.prior().event_shape == (12,)
    eye = torch.eye(3, dtype=torch.float64)
    z = torch.stack([torch.cat(row) for row in itertools.product(eye, repeat=4)])
    x = images()
    with torch.no_grad():
        log_prior = pair.prior.discrete().log_prob(z)
        exact = (log_prior.unsqueeze(1) + pair.likelihood(z.unsqueeze(1)).log_prob(x)).logsumexp(0)
    assert log_prior.exp().sum().item() == pytest.approx(1.0)
    result = log_likelihood(pair.discrete(), x, 4000, seed=1)
    spread = (4000 / result.ess - 1).sqrt() / 4000**0.5
    assert ((result.values - exact).abs() < 5 * spread).all()
    if method == "gumbolt":
        return
    pair = build(method, groups=2, units=2, num_states=3, sampler="pcd", num_chains=20, num_sweeps=1)
    step = TrainStep(pair, objective(method, 2), torch.optim.Adam(pair.parameters(), lr=1e-3), compile="traced")
    assert all(torch.isfinite(step(images(10))) for _ in range(2))
    assert step.mode == "traced"
    with pytest.raises(ValueError, match="num_states must be None for dvaes_gi, which has bits only, got 3"):
        build("dvaes_gi", num_states=3)
