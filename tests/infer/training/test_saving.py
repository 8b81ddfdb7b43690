import importlib
import json
import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pairs
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam, PyroSample
from torch import nn
from torch.distributions import constraints

import pyrodgm
from pyrodgm.distributions import GaussianSmoothing, RelaxedBoltzmann
from pyrodgm.infer import DamagedFileError
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import HVAE, VAE
from pyrodgm.nn import joint_mlp, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import BoltzmannPrior, StandardNormal, VampPrior


def round_trip(module, folder):
    pyrodgm.save(module, folder)
    return pyrodgm.load(folder)


def layout(module):
    """Everything that must come back: classes, modes, and which names are one module or tensor."""
    modules = list(module.named_modules(remove_duplicate=False))
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    first = {}
    same = [(name, first.setdefault(id(part), name)) for name, part in [*modules, *tensors]]
    kinds = [(name, type(part), part.training) for name, part in modules]
    return same, kinds, [(name, t.requires_grad, t.dtype, t.tolist()) for name, t in tensors]


def loss_and_gradients(build, pair):
    x = (torch.arange(pairs.BATCH * pairs.D).reshape(pairs.BATCH, pairs.D) % 3 > 1).double()
    pair.zero_grad()
    torch.manual_seed(1)
    loss = pairs.objective_of(build).differentiable_loss(pair.model, pair.guide, x)
    loss.backward()
    return [loss.detach(), *(torch.zeros_like(p) if p.grad is None else p.grad for p in pair.parameters())]


@pytest.mark.parametrize("build", pairs.PAIRS, ids=lambda build: build.__name__)
def test_every_pair_comes_back(build, tmp_path):
    pair = build()
    twin = round_trip(pair, tmp_path)
    assert layout(twin) == layout(pair)
    assert list(twin.state_dict()) == list(pair.state_dict())
    if not build.__name__.startswith("semi_supervised"):  # whose loss, of discrete labels, is tested elsewhere
        torch.testing.assert_close(loss_and_gradients(build, twin), loss_and_gradients(build, pair))
    json.loads((tmp_path / "pair.json").read_text(), parse_constant=pytest.fail)  # plain JSON, without NaN


class Tied(nn.Module):
    """A decoder whose last layer is the transposed first one of the encoder."""

    def __init__(self, encoder):
        super().__init__()
        self.first, self.weight, self.bias = nn.Linear(4, 16), encoder[0].weight, nn.Parameter(torch.zeros(64))

    def forward(self, z):
        return nn.functional.linear(self.first(z).tanh(), self.weight.T, self.bias)


class OwnVamp(nn.Module):
    """A VampPrior that registers the posterior of the pair."""

    def __init__(self, posterior):
        super().__init__()
        self.posterior, self.inputs = posterior, nn.Parameter(torch.rand(5, 64))

    def forward(self):
        return dist.MixtureSameFamily(dist.Categorical(torch.ones(5)), self.posterior(self.inputs.clamp(0, 1)))


class OnTrunk(nn.Module):
    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.net = trunk, GaussianPosterior(nn.Linear(20, 8))

    def forward(self, x, z):
        h = self.trunk(x)
        return self.net(torch.cat([h.expand(*z.shape[:-1], 16), z], -1))


class Plain(nn.Module):
    """Attributes of all kinds that are data."""

    def __init__(self):
        super().__init__()
        self.numbers = {"a": (1, 2.5, None, True), 3: [float("inf"), float("-inf")], "b": {1, 2}}
        self.activation, self.kind, self.dtype = nn.functional.logsigmoid, nn.ReLU, torch.float32
        self.make = partial(dist.Normal, 0.0, scale=2.0)
        self.smoothing = GaussianSmoothing(torch.tensor(3.0))
        self.base = dist.Normal(torch.zeros(2), torch.ones(2))
        self.shape = torch.Size([2, 3])
        self.constant = torch.arange(4)
        self.parts = [nn.Linear(2, 2)]  # not registered
        self.again = (self.parts[0].weight,)
        self.register_buffer("hidden", torch.ones(2, dtype=torch.bfloat16), persistent=False)
        self.register_parameter("none", None)

    def forward(self, x):
        return self.activation(x) + self.make().mean + self.parts[0](x)


class Constrained(PyroModule):
    def __init__(self):
        super().__init__()
        self.scale = PyroParam(torch.tensor(2.0), constraints.positive)
        self.share = PyroParam(torch.tensor([0.2, 0.8]), constraints.simplex, event_dim=1)
        self.linear = PyroModule[nn.Linear](2, 3)


def tied_to_the_encoder():
    encoder = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 8))
    return VAE(StandardNormal(4), BernoulliLikelihood(Tied(encoder)), GaussianPosterior(encoder))


def vamp_that_registers_the_posterior():
    posterior = GaussianPosterior(mlp(64, [16], 8))
    return VAE(OwnVamp(posterior), BernoulliLikelihood(mlp(4, [16], 64)), posterior)


def two_posteriors_on_one_trunk():
    trunk = nn.Sequential(nn.Linear(64, 16), nn.Tanh())
    upper = GaussianPosterior(nn.Sequential(trunk, nn.Linear(16, 8)))
    likelihood = BernoulliLikelihood(joint_mlp([4, 4], [16], 64))
    return HVAE(StandardNormal(4), GaussianPosterior(mlp(4, [16], 8)), likelihood, upper, OnTrunk(trunk))


def one_layer_twice():
    layer = nn.Linear(16, 16)
    return nn.Sequential(nn.Linear(4, 16), layer, nn.Tanh(), layer, nn.Linear(16, 64))


def changed_after_it_was_made():
    vae = pairs.vae_vamp()
    vae.likelihood = BernoulliLikelihood(mlp(pairs.LATENT, [5, 5], pairs.D, layer=pairs.Dense))
    vae.posterior.net[0].linear.weight.requires_grad_(False)
    vae.posterior.eval()
    return vae


def modules_of_torch():
    lists = nn.ModuleDict({"list": nn.ModuleList([nn.BatchNorm2d(3), nn.GELU()]), "none": nn.Identity()})
    lists["numbers"] = nn.ParameterList([torch.ones(2), torch.zeros(3)])
    return nn.ModuleList([lists, nn.LSTM(3, 4, num_layers=2), nn.TransformerEncoderLayer(4, 2), nn.Conv2d(1, 2, 3)])


@pytest.mark.parametrize(
    "build",
    [
        tied_to_the_encoder,
        vamp_that_registers_the_posterior,
        two_posteriors_on_one_trunk,
        one_layer_twice,
        changed_after_it_was_made,
        modules_of_torch,
        Constrained,
        Plain,
    ],
)
def test_ties_and_shared_parts_come_back(build, tmp_path):
    module = build()
    twin = round_trip(module, tmp_path)
    assert layout(twin) == layout(module)


def test_attributes_of_all_kinds_come_back(tmp_path):
    module = Plain()
    twin = round_trip(module, tmp_path)
    assert twin.numbers == module.numbers
    assert type(twin.numbers[3][0]) is float
    assert isinstance(twin.numbers["a"], tuple)
    assert (twin.activation, twin.kind, twin.dtype) == (module.activation, module.kind, module.dtype)
    assert twin.smoothing.beta.equal(module.smoothing.beta)
    assert twin.base.scale.equal(module.base.scale)
    assert twin.again[0] is twin.parts[0].weight
    assert twin.hidden.dtype == torch.bfloat16
    assert "hidden" not in twin.state_dict()
    x = torch.ones(2)
    assert twin(x).equal(module(x))


def test_constrained_parameters_and_networks_of_torch_compute_the_same(tmp_path):
    pair = Constrained()
    twin = round_trip(pair, tmp_path / "pyro")
    assert twin.scale.equal(pair.scale)
    assert twin.share.equal(pair.share)
    assert isinstance(twin.linear, nn.Linear)
    for net, features in ((nn.LSTM(3, 4), 3), (nn.TransformerEncoderLayer(4, 2).eval(), 4)):
        x = torch.ones(5, 2, features)
        out, again = net(x), round_trip(net, tmp_path / type(net).__name__)(x)
        assert (out[0] if isinstance(out, tuple) else out).equal(again[0] if isinstance(again, tuple) else again)


@pytest.mark.slow
def test_a_pair_opens_in_a_fresh_process(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import pyro.distributions as dist
            import torch
            from torch import nn

            class Student(nn.Module):
                def __init__(self, features, *, tails):
                    super().__init__()
                    self.log_df = nn.Parameter(torch.full((features,), tails))

                def forward(self):
                    return dist.StudentT(1.0 + self.log_df.exp()).to_event(1)
            """
        )
    )
    torch.set_default_dtype(torch.float32)
    monkeypatch.syspath_prepend(tmp_path)
    student = importlib.import_module("mine").Student(3, tails=0.5)
    vae = VAE(student, BernoulliLikelihood(mlp(3, [4], 6)), GaussianPosterior(mlp(6, [4], 6)))
    pyrodgm.save(vae, tmp_path / "saved")
    ones = torch.ones(3), torch.ones(6)
    written = [vae.likelihood(ones[0]).log_prob(ones[1]).item(), vae.prior().log_prob(ones[0]).item()]
    read = """
        import torch, pyrodgm
        vae = pyrodgm.load("saved")
        print(vae.likelihood(torch.ones(3)).log_prob(torch.ones(6)).item(), vae.prior().log_prob(torch.ones(3)).item())
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(pyrodgm.__file__).parents[1])])}
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(read)], cwd=tmp_path, env=environment, check=True, capture_output=True
    ).stdout
    assert [float(number) for number in printed.split()] == pytest.approx(written, rel=1e-6)


def with_attribute(value):
    module = StandardNormal(3)
    module.extra = value
    return module


def local_class():
    class Local(nn.Module):
        pass

    return nn.Sequential(Local())


def with_hook():
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda *_: None)
    return module


def with_sample():
    module = PyroModule[nn.Linear](2, 2)
    module.weight = PyroSample(dist.Normal(0.0, 1.0).expand([2, 2]).to_event(2))
    return module


def a_function(x):
    return x


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: VAE(BoltzmannPrior(1, 1, lambda m: m, "exact"), nn.Identity(), nn.Identity()), r"prior\.relaxation"),
        (lambda: BoltzmannPrior(1, 1, partial(RelaxedBoltzmann, smoothing=Path()), "exact"), r"relaxation\.smoothing"),
        (lambda: with_attribute(a_function), "extra"),
        (lambda: with_attribute([1, {"a": torch.load}]), r"extra\.1\.a"),
        (lambda: with_attribute(torch.Generator()), "extra"),
        (lambda: with_attribute(torch.ones(2, requires_grad=True) * 2), "extra"),
        (lambda: with_attribute(torch.ones(2).to_sparse()), "extra"),
        (lambda: with_attribute(pyrodgm.datasets.load("digits")), "extra"),
        (lambda: with_attribute(StandardNormal(2).forward), "extra"),
        (local_class, "0 must be of an importable class"),
        (with_hook, "0._forward_hooks"),
        (with_sample, "the pair must have no PyroSample"),
        (lambda: torch.jit.script(nn.Linear(2, 2)), "the pair must be"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "the pair must be"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_cannot_be_written_is_named_and_nothing_is(build, name, tmp_path):
    with pytest.raises(ValueError, match=f"^{name}"):
        pyrodgm.save(build(), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def edited(folder, edit):
    file = folder / "pair.json"
    content = json.loads(file.read_text())
    edit(content["pair"])
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "entry",
    [
        {"module": "os.system"},
        {"module": "subprocess.Popen"},
        {"module": "torch.jit.ScriptModule"},
        {"module": "torch.fx.GraphModule"},
        {"module": "json.__main__.x"},
        {"module": "no_such_package.Net"},
        {"module": "Net"},
        {"module": "PyroModule[os.system]"},
        {"class": "subprocess.Popen"},
        {"class": "pyrodgm.infer.fit"},
        {"function": "torch.load"},
        {"function": "torch.hub.load"},
        {"function": "torch.compile"},
        {"function": "builtins.eval"},
        {"function": "pyrodgm.datasets.load"},
        {"function": "pyrodgm.nn.dense.F.handle_torch_function"},
        {"partial": "torch.load", "args": ["payload"], "keywords": {"weights_only": False}},
        {"partial": "os.system", "args": ["touch payload-ran"], "keywords": {}},
        {"object": "pathlib.Path", "attributes": {}},
        {"object": "torch.storage.UntypedStorage", "attributes": {}},
        {"dtype": "load"},
        {"same": "nowhere"},
        {"tensor": "nowhere"},
        {"unknown": 1},
        {},
    ],
)
def test_nothing_but_modules_and_parts_of_the_library_is_made_from_a_file(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pyrodgm.save(pairs.vae_standard(), tmp_path)
    edited(tmp_path, lambda pair: pair["modules"]["prior"].update(attributes={"features": entry}))
    with pytest.raises((ValueError, ImportError), match=r"pair\.json"):
        pyrodgm.load(tmp_path)
    assert not (tmp_path / "payload-ran").exists()


def test_damaged_missing_and_mixed_files_are_named(tmp_path):
    pair = pairs.vae_standard()
    pyrodgm.save(pair, tmp_path)
    for name in ("pair.json", "weights.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for damaged in (b"", whole[:-3], whole[: len(whole) // 2], b"[" * 100_000, b"null", b"\xff" + whole[1:]):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(DamagedFileError, match=name.replace(".", r"\.")):
                pyrodgm.load(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
            pyrodgm.load(tmp_path)
        (tmp_path / name).write_bytes(whole)
    other = pairs.vae_standard()
    pyrodgm.save(other, tmp_path / "other")
    (tmp_path / "other" / "weights.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes())
    with pytest.raises(DamagedFileError, match="not of one pair"):
        pyrodgm.load(tmp_path / "other")
    pyrodgm.save(other, tmp_path)  # over an earlier one
    assert layout(pyrodgm.load(tmp_path)) == layout(other)


@pytest.mark.slow
def test_every_flipped_byte_of_the_architecture_is_an_error_or_another_number(tmp_path):
    pyrodgm.save(StandardNormal(3), tmp_path)
    file = tmp_path / "pair.json"
    whole = file.read_bytes()
    for i in range(len(whole)):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        message = "pair.json"
        try:
            pyrodgm.load(tmp_path)
        except (ValueError, ImportError) as error:
            message = str(error)
        assert "pair.json" in message


def test_a_run_folder_is_not_written_over(tmp_path):
    (tmp_path / "state.pt").touch()
    with pytest.raises(FileExistsError, match="holds a run"):
        pyrodgm.save(StandardNormal(3), tmp_path)


def test_a_shared_vampprior_keeps_its_posterior(tmp_path):
    posterior = GaussianPosterior(mlp(6, [4], 6))
    alone = VampPrior(posterior, torch.rand(5, 6))  # outside of a pair, nothing else holds the posterior
    twin = round_trip(alone, tmp_path)
    z = torch.ones(3)
    assert twin().log_prob(z).equal(alone().log_prob(z))
