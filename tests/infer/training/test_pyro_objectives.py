"""The estimators that ``pyro.infer`` exports, as objectives of ``fit`` and of a training step."""

import inspect
import warnings
from functools import partial

import pyro
import pyro.distributions as dist
import pyro.infer
import pytest
import torch
from pyro.contrib.gp.kernels import RBF
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.nn import PyroModule, PyroParam, pyro_method
from torch import nn
from torch.distributions import constraints

from pyrodgm.infer import FitSettings, TrainStep, fit, gradient_snr

X = torch.linspace(1.0, 3.0, 12, dtype=torch.float64)
EXPORTED = [c for c in vars(pyro.infer).values() if inspect.isclass(c) and issubclass(c, pyro.infer.ELBO)]
TRAINED = {"Trace_ELBO", "TraceMeanField_ELBO", "TraceEnum_ELBO", "TraceTMC_ELBO", "Trace_MMD"}
REFUSED = {
    "RenyiELBO": r"pass pyrodgm\.infer\.IWELBO\(num_particles, alpha=\.\.\.\)",
    "ReweightedWakeSleep": r"pass pyrodgm\.infer\.IWELBO",
    "TraceGraph_ELBO": r"pass pyro\.infer\.Trace_ELBO",
    "JitTraceGraph_ELBO": r"pass pyro\.infer\.Trace_ELBO",
    "JitTrace_ELBO": r"pass pyro\.infer\.Trace_ELBO\(\).*JitTrace_ELBO, which has torch\.jit trace",
    "JitTraceMeanField_ELBO": r"pass pyro\.infer\.TraceMeanField_ELBO\(\)",
    "JitTraceEnum_ELBO": r"pass pyro\.infer\.TraceEnum_ELBO\(\)",
    "TraceTailAdaptive_ELBO": r"have a loss: .*TraceTailAdaptive_ELBO, which has gradients alone",
}
ESTIMATORS = [c for c in EXPORTED if c is not pyro.infer.ELBO]


class Conjugate(PyroModule):
    """x ~ N(z, 1/4), z ~ N(m, 1): the bound can reach the evidence."""

    def __init__(self):
        super().__init__()
        self.loc, self.slope = nn.Parameter(torch.zeros(())), nn.Parameter(torch.tensor(0.5))
        self.scale = PyroParam(torch.ones(()), constraints.positive)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(self.slope * x, self.scale))


class Mixture(PyroModule):
    """Two Gaussians, whose component is enumerated in the model, or in model and guide."""

    def __init__(self, guided):
        super().__init__()
        self.locs, self.scores = nn.Parameter(torch.tensor([-1.0, 1.0])), nn.Parameter(torch.zeros(2))
        self.guided, self.code = guided, nn.Linear(1, 2)

    @config_enumerate
    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            k = pyro.sample("k", dist.Categorical(logits=self.scores))
            pyro.sample("x", dist.Normal(self.locs[k], 1.0), obs=x)

    @config_enumerate
    def guide(self, x):
        if self.guided:
            with pyro.plate("data", x.shape[0], dim=-1):
                pyro.sample("k", dist.Categorical(logits=self.code(x.unsqueeze(-1))))

    def bound(self, x):
        """The evidence, or the bound of the guide, of each datum by enumeration."""
        joint = self.scores.log_softmax(-1) + dist.Normal(self.locs, 1.0).log_prob(x.unsqueeze(-1))
        if not self.guided:
            return joint.logsumexp(-1)
        q = self.code(x.unsqueeze(-1)).log_softmax(-1)
        return (q.exp() * (joint - q)).sum(-1)


def make(kind):
    return kind(RBF(1)) if kind is pyro.infer.Trace_MMD else kind()


def options(mode):
    return {
        "optimizer": partial(torch.optim.Adam, lr=0.1),
        "settings": FitSettings(progress=False, compile=mode, valid=X),
    }


def test_every_exported_estimator_is_known():
    assert {kind.__name__ for kind in ESTIMATORS} == TRAINED | REFUSED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_estimators_without_a_loss_to_train_on_are_refused_by_name(name):
    pair, objective = Conjugate(), getattr(pyro.infer, name)()
    for call in (
        lambda: fit(pair, X, epochs=1, objective=objective, **options("auto")),
        lambda: TrainStep(pair, objective, torch.optim.Adam(pair.parameters())),
        lambda: gradient_snr(pair, objective, X),
    ):
        with pytest.raises(TypeError, match=f"objective must .*{REFUSED[name]}"):
            call()
    assert pair.loc == 0.0


@pytest.mark.filterwarnings("ignore:.*(cannot be traced|no sample sites configured)")
@pytest.mark.parametrize("mode", ["eager", "auto"])
@pytest.mark.parametrize("name", sorted(TRAINED - {"Trace_MMD"}))
def test_estimators_train_to_the_evidence(name, mode):
    torch.manual_seed(0)
    pair = Conjugate()
    result = fit(pair, X, epochs=25, batch_size=6, objective=getattr(pyro.infer, name)(), **options(mode))
    evidence = dist.Normal(X.mean(), 1.25**0.5).log_prob(X).mean()
    assert result.best_bound == pytest.approx(float(evidence), abs=0.25)
    assert result.metrics[0]["train_bound"] < result.best_bound - 1.0


def test_a_step_takes_the_gradient_of_the_discrepancy():
    """Its kernel has frozen parameters, which are none of the pair's."""
    losses, gradients = [], []
    for own in (True, False):
        pair, objective = Conjugate(), pyro.infer.Trace_MMD(RBF(1), vectorize_particles=True, max_plate_nesting=1)
        torch.manual_seed(0)
        if own:
            step = TrainStep(pair, objective, torch.optim.SGD(pair.parameters(), lr=0.0), compile="eager")
            losses.append(float(step(X)))
        else:
            loss = objective.differentiable_loss(pair.model, pair.guide, X) / len(X)
            loss.backward()
            losses.append(loss.item())
        gradients.append(torch.stack([p.grad for p in pair.parameters()]))
    assert losses[0] == pytest.approx(losses[1])
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("nesting", [1, float("inf")])
def test_an_enumerated_step_has_the_exact_loss_and_gradient(guided, nesting):
    torch.manual_seed(0)
    pair = Mixture(guided)
    expected = -pair.bound(X).mean()
    used = [p for p in pair.parameters() if guided or p not in set(pair.code.parameters())]
    gradients = torch.autograd.grad(expected, used)
    step = TrainStep(pair, TraceEnum_ELBO(max_plate_nesting=nesting), torch.optim.SGD(used, lr=0.0), compile="eager")
    assert float(step(X)) == pytest.approx(expected.item(), rel=1e-6)
    for parameter, gradient in zip(used, gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*cannot be traced")
@pytest.mark.parametrize("mode", ["eager", "auto"])
@pytest.mark.parametrize("guided", [False, True])
def test_fit_on_enumeration_is_svi_on_it(guided, mode):
    torch.manual_seed(1)
    pair = Mixture(guided)
    torch.manual_seed(1)
    other = Mixture(guided)
    objective = TraceEnum_ELBO(max_plate_nesting=1)
    result = fit(
        pair,
        X,
        epochs=5,
        batch_size=12,
        objective=objective,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        settings=FitSettings(progress=False, compile=mode, valid=X[:5]),
    )

    def model(x):
        pyro.module("pair", other)
        return other.model(x)

    svi = SVI(model, other.guide, pyro.optim.SGD({"lr": 0.1 / len(X)}), objective)
    for _ in range(5):
        svi.step(X)
    for own, theirs in zip(pair.parameters(), other.parameters(), strict=True):
        assert torch.allclose(own, theirs, atol=1e-5)
    assert result.best_bound == pytest.approx(pair.bound(X[:5]).mean().item(), rel=1e-4)


def test_validation_by_enumeration_keeps_no_gradients_and_no_parts():
    """The components' parameters are in a part called with nothing, whose result is kept without gradients."""

    class Prior(nn.Module):
        def __init__(self):
            super().__init__()
            self.locs = nn.Parameter(torch.tensor([-1.0, 1.0]))

        def forward(self):
            return self.locs + 0.0

    class Kept(PyroModule):
        def __init__(self):
            super().__init__()
            self.prior = Prior()

        @config_enumerate
        def model(self, x):
            with pyro.plate("data", x.shape[0], dim=-1):
                k = pyro.sample("k", dist.Categorical(torch.ones(2) / 2))
                pyro.sample("x", dist.Normal(self.prior()[k], 1.0), obs=x)

        def guide(self, x):
            pass

    pair = Kept()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit(pair, X, epochs=1, objective=TraceEnum_ELBO(max_plate_nesting=1), **options("auto"))
    locs = pair.prior.locs.detach()
    exact = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(locs, 1.0)).log_prob(X).mean()
    assert result.best_bound == pytest.approx(float(exact), rel=1e-4)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_fault_under_enumeration_is_named():
    pair = Mixture(guided=False)
    with torch.no_grad():
        pair.locs[0] = float("nan")
    with pyro.validation_enabled(False), pytest.raises(FloatingPointError, match="log_prob of x in the model"):
        fit(pair, X, epochs=1, objective=TraceEnum_ELBO(max_plate_nesting=1), **options("eager"))


def test_trace_elbo_is_still_trace_elbo():
    pair = Conjugate()
    step = TrainStep(pair, Trace_ELBO(), torch.optim.SGD(pair.parameters(), lr=0.0), compile="eager")
    torch.manual_seed(3)
    own = float(step(X))
    torch.manual_seed(3)
    assert own == pytest.approx(Trace_ELBO().loss(pair.model, pair.guide, X) / len(X))
