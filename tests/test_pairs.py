"""Every model/guide pair through everything that users may rely on."""

import copy
import io
from functools import partial

import missing
import pyro
import pyro.poutine as poutine
import pytest
import torch
from fresh_process import run_python
from pairs import BATCH, COUNTS, PAIRS, REFUSALS, SYMBOLS, UNTRAINED, D, bottom_up_hvae, objective_of, vae_vamp
from pyro.infer import (
    SVI,
    Importance,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceMeanField_ELBO,
)
from pyro.infer.importance import psis_diagnostic, vectorized_importance_weights
from safetensors.torch import load, save

from pyrodgm.distributions import (
    SpikeBoltzmann,
    SpikeExponential,
)
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    Callback,
    StratifiedELBO,
    StratifiedIWELBO,
    TrainStep,
    fit,
    load_weights,
    log_likelihood,
    save_weights,
)
from pyrodgm.infer.training.settings import fit_arguments
from pyrodgm.testing import check_pair, check_prior


@pytest.fixture(params=PAIRS, ids=lambda build: build.__name__)
def build(request):
    return request.param


@pytest.fixture
def x():
    return torch.rand(BATCH, D).round()


def latents(trace):
    return {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and not s["is_observed"] and n != "data"}


@pytest.mark.slow
def test_checks_that_others_may_import(build, x):
    """Sites, plates, support, particles, copies; the traced step has a test of its own below."""
    check_pair(build(), x, traced=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [  # one particle: Trace_ELBO in test_plain_svi_on_two_pairs_shares_nothing, ELBO in test_copies_share_nothing
        Trace_ELBO(num_particles=5, vectorize_particles=True),
        TraceMeanField_ELBO(num_particles=2),
        RenyiELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        ELBO(num_particles=4, vectorize_particles=True),
        IWELBO(3),
        IWELBO(3, gradient="stl"),
        IWELBO(3, alpha=0.5, gradient="dreg"),
        StratifiedELBO(),
        StratifiedIWELBO(2),
    ],
    ids=lambda o: f"{type(o).__module__.split('.')[0]}-{type(o).__name__}-{o.num_particles}",
)
def test_every_estimator_trains_it_through_plain_svi(build, x, objective):
    pair = build()
    before = copy.deepcopy(pair.state_dict())
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), loss=copy.deepcopy(objective))
    refusals = REFUSALS.get(build, REFUSALS.get(type(pair), {}))
    if type(objective) in refusals:
        kind, message = refusals[type(objective)]
        with pytest.raises(kind, match=message):
            svi.step(x)
        return
    if build is bottom_up_hvae and isinstance(objective, TraceMeanField_ELBO):
        with pytest.warns(UserWarning, match="model and guide sites occur in the same order"):
            svi.step(x)
        return
    loss = svi.step(x)
    assert abs(loss) < 1e6
    changed = {n for n, p in pair.named_parameters() if not torch.equal(before[n], p)}
    left_out = UNTRAINED.get(type(pair), {}).get(type(objective), ())
    assert changed == {n for n, _ in pair.named_parameters() if n.split(".")[0] not in left_out}


@pytest.mark.slow
def test_evaluation_by_pyro_and_by_us_agree(build, x):
    pair = build().eval()  # where a point estimate's prior no longer counts
    ours = log_likelihood(pair, x[:1], 500, proposal="guide", seed=4, keep=True)
    torch.manual_seed(4)
    theirs, _, _ = vectorized_importance_weights(pair.model, pair.guide, x[:1], num_samples=500, max_plate_nesting=1)
    assert torch.allclose(ours.log_weights[:, 0], theirs)
    assert psis_diagnostic(pair.model, pair.guide, x[:1], num_particles=100, max_plate_nesting=1) < 10
    posterior = Importance(pair.model, pair.guide, num_samples=5).run(x[:1])
    assert posterior.get_ESS() > 1


@pytest.mark.slow
def test_model_draws_data(build):
    pair = build()
    draws = poutine.uncondition(pair.model)(torch.zeros(7, D))
    assert draws is None
    drawn = Predictive(poutine.uncondition(pair.model), num_samples=3)(torch.zeros(7, D))["x"]
    assert drawn.shape == (3, 7, D)
    least, most = (-1, 2) if build in SYMBOLS else (0, 1)
    assert ((drawn >= least) & (drawn == drawn.round())).all()
    assert build in COUNTS or drawn.max() <= most


@pytest.mark.slow
def test_prior_samples_follow_its_density(build):
    prior = build().prior
    with torch.no_grad():
        spike = isinstance(prior(), SpikeBoltzmann)  # which has points of positive mass
        zeros = torch.zeros(prior().event_shape)
    check_prior(prior, SpikeExponential(zeros, 1.0).to_event(1) if spike else None)


@pytest.mark.slow
def test_copies_share_nothing(build, x):
    pair = build()
    twin = copy.deepcopy(pair)
    before = copy.deepcopy(pair.state_dict())
    TrainStep(twin, ELBO(), torch.optim.Adam(twin.parameters(), lr=0.1), compile="eager")(x)
    assert all(torch.equal(before[n], v) for n, v in pair.state_dict().items())
    assert all(not torch.equal(before[n], p) for n, p in twin.named_parameters())
    assert len(pyro.get_param_store()) == 0
    if hasattr(pair.prior, "posterior"):
        assert any(part is pair.prior.posterior for part in pair.posterior.modules())
        assert any(part is twin.prior.posterior for part in twin.posterior.modules())


def test_plain_svi_on_two_pairs_shares_nothing(build, x):
    first, second = build(), build()
    third = copy.deepcopy(second)
    loss = ELBO() if Trace_ELBO in REFUSALS.get(build, {}) else Trace_ELBO()
    for pair in (first, second, third):
        SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 0.1}), loss=loss).step(x)
    names = set(pyro.get_param_store().keys())
    assert len(names) == 3 * len(list(first.parameters()))
    values = [dict(pair.named_parameters()) for pair in (second, third)]
    assert all(values[0][n] is not values[1][n] for n in values[0])


def test_state_is_saved_once_and_read_back(build, x, tmp_path):
    pair = build()
    state = pair.state_dict()
    assert len({v.data_ptr() for v in state.values()}) == len(state)
    assert save(state)  # safetensors refuses shared memory
    assert load(save(state)).keys() == state.keys()
    save_weights(state, tmp_path / "weights.safetensors")
    other = build()
    load_weights(other, tmp_path / "weights.safetensors")
    with torch.no_grad():
        pyro.set_rng_seed(1)
        a = Trace_ELBO().loss(pair.model, pair.guide, x)
        pyro.set_rng_seed(1)
        assert Trace_ELBO().loss(other.model, other.guide, x) == a
    buffer = io.BytesIO()
    torch.save(pair, buffer)
    buffer.seek(0)
    unpickled = torch.load(buffer, weights_only=False)
    with torch.no_grad():
        pyro.set_rng_seed(1)
        assert Trace_ELBO().loss(unpickled.model, unpickled.guide, x) == a


@pytest.mark.slow
def test_state_is_read_in_a_fresh_process(tmp_path):
    x = torch.rand(BATCH, D).round()
    expected = []
    for build in PAIRS:
        pair = build()
        save_weights(pair.state_dict(), tmp_path / f"{build.__name__}.safetensors")
        torch.manual_seed(1)
        expected.append(ELBO().differentiable_loss(pair.model, pair.guide, x).item())
    torch.save(x, tmp_path / "x.pt")
    program = """
import sys, torch
torch.set_default_dtype(torch.float64)
from pairs import PAIRS
from pyrodgm.infer import ELBO, load_weights
folder = sys.argv[1]
x = torch.load(f"{folder}/x.pt")
for build in PAIRS:
    pair = build()
    load_weights(pair, f"{folder}/{build.__name__}.safetensors")
    torch.manual_seed(1)
    print(repr(ELBO().differentiable_loss(pair.model, pair.guide, x).item()))
"""
    found = run_python("-c", program, tmp_path).stdout.split()
    assert [float(line) for line in found] == expected  # the same programs with the same threads, to the last bit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype(build, x, dtype):
    pair = build().to(dtype)
    loss = ELBO().differentiable_loss(pair.model, pair.guide, x.to(dtype))
    assert loss.dtype == dtype
    loss.backward()
    assert all(p.grad.dtype == dtype and torch.isfinite(p.grad).all() for p in pair.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("device", ["meta", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_device(build, x, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip(missing.DEVICE)
    pair = build().to(device)
    with pyro.validation_enabled(False):
        loss = ELBO().differentiable_loss(pair.model, pair.guide, x.to(device))
    assert loss.device.type == device


class FirstSteps(Callback):
    """Keeps the losses of twelve steps, the last two of the second epoch, and the state after them."""

    def __init__(self):
        self.losses, self.state = [], {}

    def on_step(self, moment):
        if moment.step <= 12:
            self.losses.append(moment.loss)
        if moment.step == 12:
            self.state = copy.deepcopy(moment.pair.state_dict())


@pytest.mark.slow
def test_fit_improves_it_in_traced_steps_that_equal_eager_ones_bit_for_bit(build):
    """Other sizes of batch are in infer/training/test_step.py."""
    adam = partial(torch.optim.Adam, lr=1e-2)
    epochs = 20 if build in COUNTS else 13
    options = {"optimizer": adam, "batch_size": 20, "kl_warmup": 5, "clip_grad_norm": 10.0, "progress": False}
    steps = {}
    for mode, length in (("eager", {"epochs": 2, "max_steps": 12}), ("traced", {"epochs": epochs})):
        steps[mode] = FirstSteps()
        pyro.set_rng_seed(0)
        x = (torch.rand(200, 1) > 0.5).to(torch.get_default_dtype()).expand(200, D).contiguous()
        settings = fit_arguments(
            objective=objective_of(build), compile=mode, callbacks=[steps[mode]], **options, **length
        )
        result = fit(build(), x, **settings)
    # D independent bits would cost 8.3 nats, the one bit 0.7; as counts, 10.2 and 6.7, which takes longer to learn.
    assert result.metrics[-1]["train_bound"] > (-9.5 if build in COUNTS else -4.0)
    assert steps["eager"].losses == steps["traced"].losses
    assert all(torch.equal(steps["eager"].state[n], value) for n, value in steps["traced"].state.items())
    assert len(set(steps["eager"].losses)) == 12


def losses_and_state(build, mode, dtype):
    """Eight steps with a schedule of the divergence's weight."""
    pyro.set_rng_seed(0)
    pair = build().to(dtype)
    objective = objective_of(build)
    step = TrainStep(pair, objective, torch.optim.Adam(pair.parameters(), lr=1e-2), clip_grad_norm=10.0, compile=mode)
    x = torch.rand(20, D, generator=torch.Generator().manual_seed(1)).round().to(dtype)
    losses = []
    for i in range(8):
        objective.kl_weight.fill_(i / 8)
        losses.append(step(x))
    assert step.mode == mode
    return torch.stack(losses), pair.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_compiled_step_equals_the_eager_one(dtype, rtol):
    runs = (losses_and_state(vae_vamp, mode, dtype) for mode in ("eager", "compiled"))
    (eager, eager_state), (compiled, state) = runs
    assert torch.allclose(eager, compiled, rtol=rtol)
    for name in state:
        assert torch.allclose(eager_state[name], state[name], rtol=100 * rtol, atol=rtol)
