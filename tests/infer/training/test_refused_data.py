"""Data that are refused, by name, and what errors say of the data that programs ran on."""

import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from regressions import QUIET, Counts, Regression, Streamed, columns, trained
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import (
    ELBO,
    FitSettings,
    active_units,
    annealed_log_likelihood,
    bidirectional,
    classification_error,
    fit,
    gradient_snr,
    log_likelihood,
    posterior_means,
    reconstruct,
    refine,
    sample,
)
from pyrodgm.likelihoods import BernoulliLikelihood, GaussianLikelihood
from pyrodgm.models import VAE
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


def test_values_outside_the_support_are_refused_in_the_words_of_the_likelihood():
    x = torch.zeros(2500)
    x[2345] = 0.5
    with pytest.raises(
        ValueError, match=r"site 'counts', Boolean\(\) of Bernoulli, got values from 0.5 to 0.5 in row 2345"
    ):
        fit(Counts(lambda raw: dist.Bernoulli(logits=raw[0])), x, epochs=1, settings=QUIET)
    with pytest.raises(ValueError, match=r"of Poisson, got values from -1 to -1 in row 3"):
        fit(Counts(lambda raw: dist.Poisson(raw[0].exp())), np.array([0, 4, 2, -1]), epochs=1, settings=QUIET)


@pytest.mark.parametrize("form", ["tensor", "Dataset", "valid", "Dataset's valid", "loader", "valid loader"])
@pytest.mark.parametrize("wrong", [0.5, math.inf, math.nan])
def test_every_way_in_has_its_rows_looked_at(form, wrong):
    pair = VAE(StandardNormal(1), BernoulliLikelihood(nn.Linear(1, 2)), GaussianPosterior(nn.Linear(2, 2)))
    if math.isinf(wrong):
        pair.likelihood = GaussianLikelihood(nn.Linear(1, 2))
    fine, x = torch.ones(4, 2), torch.ones(4, 2)
    x[2, 1] = wrong
    splits = [Split(fine[:0]), (1, 1, 2), "grey", "none"]
    data, valid, name = {
        "tensor": (x, None, "data"),
        "Dataset": (Dataset("own", Split(x), Split(fine), *splits), None, "data"),
        "valid": (fine, x, "valid"),
        "Dataset's valid": (Dataset("own", Split(fine), Split(x), *splits), None, "valid"),
        "loader": (DataLoader(TensorDataset(x), 4), None, "data"),
        "valid loader": (fine, DataLoader(TensorDataset(x), 4), "valid"),
    }[form]
    outside = torch.get_rng_state()
    with pytest.raises(ValueError, match=rf"^{name} must lie in the support of site 'x', .* in row 2$"):
        fit(pair, data, epochs=1, settings=FitSettings(progress=False, valid=valid))
    assert torch.equal(outside, torch.get_rng_state())


class Documents(nn.Module):
    """Counts of two words, of probabilities softmax(0, z) with z ~ N(0, 1), in documents of any length."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            logits = torch.stack([torch.zeros_like(z), z], -1)
            pyro.sample("x", dist.Multinomial(int(x.sum(-1).max()), logits=logits), obs=x)  # as in Pyro's ProdLDA

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.3 * (x[:, 1] - x[:, 0]), self.scale))


def test_a_support_that_depends_on_the_data_is_that_of_the_rows_themselves():
    x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [0.0, 0.0]])
    grid = torch.linspace(-8.0, 8.0, 2001)
    log_z, log_p = dist.Normal(0.0, 1.0).log_prob(grid), torch.log_softmax(torch.stack([0.0 * grid, grid], -1), -1)
    log_x = torch.stack([dist.Multinomial(int(n.sum()), logits=log_p).log_prob(n) for n in x])
    evidence = (log_x + log_z + math.log(16.0 / 2000.0)).logsumexp(-1)
    with pytest.warns(UserWarning, match="cannot be traced"):
        found = log_likelihood(Documents(), x, 4000, seed=0, proposal="guide")
    assert torch.allclose(found.values, evidence, atol=0.1)
    fitted = fit(Documents(), x, epochs=1, settings=FitSettings(progress=False, compile="eager"))
    assert fitted.best_bound == pytest.approx(evidence.mean().item(), abs=1.0)
    x[3, 0] = -1.0
    for refuse in (partial(fit, epochs=1, settings=QUIET), log_likelihood):
        with pytest.raises(ValueError, match=r"must lie in the support of site 'x'.*(row|datum) 3"):
            refuse(Documents(), x)


FORMS = ["tensor", "valid", "Dataset", "loader", "log_likelihood", "reconstruct", "means"]
FORMS += ["refine", "annealed", "bidirectional", "gradient_snr"]


@pytest.mark.parametrize("form", FORMS)
def test_errors_of_the_programs_say_which_data_they_ran_on(form):
    pair = VAE(StandardNormal(1), BernoulliLikelihood(nn.Linear(1, 8)), GaussianPosterior(nn.Linear(8, 2)))
    fine, x = torch.ones(4, 8), torch.ones(4, 2, 4)  # not flattened
    run, name, rows = {
        "tensor": (lambda: fit(pair, x, epochs=1, settings=QUIET), "data", 2),
        "valid": (lambda: fit(pair, fine, epochs=1, settings=FitSettings(progress=False, valid=x)), "valid", 2),
        "Dataset": (
            lambda: fit(pair, Dataset.from_tensors(torch.ones(4, 6), binarization="dynamic"), epochs=1, settings=QUIET),
            "data",
            4,
        ),
        "loader": (lambda: fit(pair, DataLoader(TensorDataset(x), 4), epochs=1, settings=QUIET), "data", 2),
        "log_likelihood": (lambda: log_likelihood(pair, x, 10), "x", 1),
        "reconstruct": (lambda: reconstruct(pair, x), "x", 4),
        "means": (lambda: posterior_means(pair, x), "x", 4),
        "refine": (lambda: refine(pair, x), "x", 2),
        "annealed": (lambda: annealed_log_likelihood(pair, x), "x", 1),
        "bidirectional": (lambda: bidirectional(pair, 3, x), "like", 1),
        "gradient_snr": (lambda: gradient_snr(pair, ELBO(), x), "x", 2),
    }[form]
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        run()
    shape = "6" if form == "Dataset" else "2, 4"
    found = [n for n in caught.value.__notes__ if n.startswith(f"{name}: model and guide were called with")]
    assert f"([{rows}, {shape}])" in found[0]


def test_data_that_fit_no_program_or_are_none_are_refused():
    y, c = columns()
    cases = [
        ((y, c, c), TypeError, r"called as model\(\[1\], \[1\], \[1\]\), but .* too many positional arguments"),
        ([*torch.ones(500, 1)], TypeError, r"called as model\(\[1\], \[1\], \[1\], \.\.\. 500 arguments\)"),
        ({"y": y, "d": c}, TypeError, "unexpected keyword argument 'd'"),
        (DataLoader(TensorDataset(y, c, c), 4), TypeError, r"called as model\(\[4\], \[4\], \[4\]\)"),
        ((y, c[:5]), ValueError, r"data\[1\] must hold as many data as the first argument, 24, got 5"),
        (y[:0], ValueError, r"data must hold at least one datum, got \[\[0\]\]"),
        ((), ValueError, "data must hold at least one datum"),
        (np.array(["a", "b"]), TypeError, "data must be an array of real numbers, got dtype <U1"),
        ((y, "text"), TypeError, r"data\[1\] must be a tensor or NumPy array, got str"),
        ("text", TypeError, "data must be a tensor, a NumPy array, .* got str"),
        (DataLoader(Streamed([], []), 4), ValueError, "data must hold at least one batch, got none"),
    ]
    for data, kind, message in cases:
        with pytest.raises(kind, match=message):
            trained(data)
    with pytest.raises(ValueError, match="steps_per_epoch must be given in the settings, for a stream of unknown"):
        trained(Streamed(y, c))
    with pytest.raises(
        ValueError, match="labelled_batch_size must be None unless data are a pyrodgm Dataset, got tuple"
    ):
        trained((y, c), FitSettings(labelled_batch_size=2))


UNFIT = {  # no real numbers one after the other, and what is said of them
    "complex": (lambda x: x + 1j * x, "must be of real numbers, got torch.complex64"),
    "complex array": (lambda x: x.numpy() + 1j, "must be an array of real numbers, got dtype complex64"),
    "COO": (lambda x: x.to_sparse(), r"must be a dense tensor, got torch.sparse_coo: pass its .to_dense\(\)"),
    "CSR": (
        lambda x: x[:, None].to_sparse_csr(),
        r"must be a dense tensor, got torch.sparse_csr: pass its .to_dense\(\)",
    ),
    "nested": (
        lambda x: torch.nested.nested_tensor([x, x[:3]]),
        r"must have rows of one shape, .* pass its .to_padded_tensor\(0.0\)",
    ),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        r"must not be quantised, got torch.qint8: pass its .dequantize\(\)",
    ),
    "masked": (
        lambda x: np.ma.masked_invalid(np.where(x.numpy() > 0, np.nan, 1.0)),
        r"must be an array without a mask, got a masked one: pass its .filled\(\) and the mask",
    ),
    "masked bytes": (
        lambda x: np.ma.masked_array(np.ones(3, np.uint8), [1, 0, 0]),
        "must be an array without a mask, got a masked one",
    ),
}


@pytest.mark.filterwarnings("ignore:.*(beta state|prototype|deprecated)")
@pytest.mark.parametrize("kind", UNFIT)
def test_what_would_lose_a_part_as_real_numbers_is_refused_by_name(kind):
    y, c = columns()
    make, message = UNFIT[kind]
    value = make(y.float())
    pair = Regression()
    for data, name in (
        (value, "data"),
        ((y, value), r"data\[1\]"),
        ({"y": y, "c": value}, r"data\['c'\]"),
        (DataLoader([0, 1], 2, collate_fn=lambda _: value), r"data\[0\]"),
        (DataLoader([0, 1], 2, collate_fn=lambda _: {"y": y, "c": value}), r"data\['c'\]"),
    ):
        with pytest.raises(TypeError, match=f"^{name} {message}"):
            trained(data)
    with pytest.raises(TypeError, match=f"^valid {message}"):
        trained((y, c), FitSettings(progress=False, valid=value))
    evaluations = [log_likelihood, reconstruct, posterior_means, active_units]
    if isinstance(value, torch.Tensor):
        evaluations += [refine, annealed_log_likelihood, lambda pair, x: gradient_snr(pair, ELBO(), x)]
        with pytest.raises(TypeError, match=f"^train {message}"):
            Dataset.from_tensors(value)
    with pytest.raises(TypeError, match=f"^labels {message}"):
        classification_error(pair, y, value)
    for evaluate in evaluations:
        with pytest.raises(TypeError, match=f"^x {message}"):
            evaluate(pair, value)
    with pytest.raises(TypeError, match=f"^like {message}"):
        sample(pair, value)
