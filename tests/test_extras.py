"""What runs with the base dependencies alone, and how the extras are named where a library is missing."""

import ast
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from fresh_process import ROOT, run_python
from packaging.requirements import Requirement

import pyrodgm

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def brought_by(requirements):
    """Names of the distributions that requirements bring, through extras of the library itself too."""
    for requirement in map(Requirement, requirements):
        if requirement.name == "pyrodgm":
            for extra in requirement.extras:
                yield from brought_by(EXTRAS[extra])
        else:
            yield requirement.name.replace("_", "-").lower()
            yield from requirement.extras  # arviz-stats[xarray] brings xarray


def imports_of_extras():
    """File, extra, and library for each import inside ``with needs_extra(...)``."""
    for file in Path(pyrodgm.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.With):
                continue
            call = node.items[0].context_expr
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "needs_extra":
                for statement in node.body:
                    module = statement.module if isinstance(statement, ast.ImportFrom) else statement.names[0].name
                    yield file, call.args[0].value, module


@pytest.mark.slow
def test_each_extra_brings_what_is_imported_for_it():
    brings = {extra: set(brought_by(requirements)) for extra, requirements in EXTRAS.items()}
    distributions = packages_distributions()
    found = list(imports_of_extras())
    assert len(found) > 15
    for file, extra, module in found:
        library = {"torch.utils.tensorboard": "tensorboard", "pyrodgm.cli.compare": "tyro"}.get(
            module, module.split(".")[0]
        )
        if library != "pyrodgm":
            names = {name.replace("_", "-").lower() for name in distributions.get(library, [library])}
            assert names & brings[extra], f"{file} imports {library}, which the extra {extra} does not bring"


# No finder finds a library that the base does not bring, as if none of them were installed.
PROGRAM = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]

import pyro, torch
from pyro.infer import SVI, Trace_ELBO
import pyrodgm
from pyrodgm import datasets, distributions, infer, likelihoods, models, nn, plots, posteriors, priors
from pyrodgm.infer.training.loggers import TensorBoardLogger

pyro.set_rng_seed(0)
half = torch.tensor(0.5)
assert distributions.Kumaraswamy(half, half).log_prob(half).isfinite()
x = torch.bernoulli(torch.full((40, 6), 0.4))
pair = models.VAE(
    priors.StandardNormal(2), likelihoods.BernoulliLikelihood(nn.mlp(2, [8], 6)),
    posteriors.GaussianPosterior(nn.mlp(6, [8], 4)),
)
SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step(x)
infer.fit(pair, x, epochs=1)

def cli():
    from pyrodgm.cli import main

for extra, call in {
    "data": lambda: datasets.load("digits"),
    "evaluation": lambda: infer.log_likelihood(pair, x, num_samples=50),
    "flows": lambda: posteriors.FlowPosterior.autoregressive(torch.nn.Identity(), 2, 1),
    "hub": lambda: pyrodgm.load_from_hub("user/name"),
    "plots": lambda: plots.image_grid(torch.rand(4, 6), (1, 2, 3)),
    "runs": lambda: infer.fit(pair, x, epochs=1, run_dir=FOLDER + "/run"),
    "tensorboard": lambda: TensorBoardLogger(FOLDER).begin({}, 0),
    "zoo": cli,
}.items():
    try:
        call()
    except ModuleNotFoundError as error:
        assert f"pip install 'pyrodgm[{extra}]'" in str(error), (extra, error)
        assert error.name in MISSING, error.name
    else:
        raise SystemExit(f"{extra}: no error")
"""


@pytest.mark.slow
def test_the_base_trains_and_names_the_extra_of_what_is_missing(tmp_path):
    base, distributions = set(brought_by(PROJECT["dependencies"])), packages_distributions()
    optional = {*brought_by(EXTRAS["all"])} - base
    missing = {
        library for library, names in distributions.items()
        if {name.replace("_", "-").lower() for name in names} & (optional | {"scipy", "xarray"})
    }  # fmt: skip
    assert {"sklearn", "matplotlib", "safetensors", "tyro", "arviz_stats"} <= missing
    run_python("-c", f"MISSING = {missing!r}\nFOLDER = {str(tmp_path)!r}\n{PROGRAM}")
