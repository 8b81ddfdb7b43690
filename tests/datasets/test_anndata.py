"""The adapter of AnnData, with the real package, on counts of handwritten digits."""

import missing
import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from pyrodgm import datasets
from pyrodgm.datasets import AnnDataRows
from pyrodgm.infer import FitSettings, fit, log_likelihood
from pyrodgm.likelihoods import NegativeBinomialLikelihood
from pyrodgm.models import CountVAE
from pyrodgm.nn import CountProfile, joint_mlp, mlp
from pyrodgm.posteriors import GaussianPosterior, LibraryPosterior
from pyrodgm.priors import LibraryPrior, StandardNormal

anndata = pytest.importorskip("anndata", reason=missing.library("anndata"))
import pandas as pd  # noqa: E402 - comes with anndata


@pytest.fixture
def counts():
    return datasets.load("digit_counts").train.images[:60].double().numpy()


@pytest.fixture
def adata(counts):
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["b", "a", "b"] * 20, categories=["a", "b", "unused"]),
            "age": np.arange(60.0),
            "treated": [True, False] * 30,
            "site": [None, *["s"] * 59],
        },
        index=[f"cell{i}" for i in range(60)],
    )
    return anndata.AnnData(sparse.csr_matrix(np.log1p(counts)), obs=obs, layers={"counts": sparse.csc_matrix(counts)})


@pytest.mark.parametrize("form", ["csr", "csc", "dense", "backed"])
def test_rows_of_matrix_and_layer(adata, counts, form, tmp_path):
    layer = "counts"
    if form == "csr":
        adata.layers[layer] = adata.layers[layer].tocsr()
    elif form == "dense":
        adata.layers[layer] = counts
    elif form == "backed":
        adata.X, layer = sparse.csr_matrix(counts), None
        adata.obs = adata.obs[["batch"]]
        adata.write_h5ad(tmp_path / "cells.h5ad")
        adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    data = AnnDataRows(adata, layer, rows=[5, 0, 59, 7])
    assert len(data) == 4
    got = torch.stack([datum["x"] for datum in data.__getitems__([2, 0, 2, 1])])  # out of order, one twice
    assert torch.equal(got, torch.from_numpy(counts[[59, 5, 59, 0]]))
    assert torch.equal(data[3]["x"], torch.from_numpy(counts[7]))
    assert data[0].keys() == {"x"}


def test_covariates(adata):
    data = AnnDataRows(adata, "counts", ["batch", "age", "treated"], rows=range(2, 60))
    assert data.columns == ("batch=a", "batch=b", "batch=unused", "age", "treated=False", "treated=True")
    assert data[0]["covariates"].tolist() == [0, 1, 0, 2, 0, 1]
    assert data[2]["covariates"].tolist() == [1, 0, 0, 4, 0, 1]
    adata.obs["batch"] = adata.obs["batch"].astype(str)
    assert AnnDataRows(adata, "counts", ["batch"]).columns == ("batch=a", "batch=b")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"layer": "raw"}, ValueError, "layer must be one of the layers of adata .counts., got 'raw'"),
        ({"covariates": ["sex"]}, ValueError, "covariates must be columns of obs .*, got 'sex'"),
        ({"covariates": ["site"]}, ValueError, "covariates must have no missing values, got 1 in 'site'"),
        ({"rows": [60]}, IndexError, "rows must lie between 0 and 59, got 60 to 60"),
    ],
)
def test_bad_arguments(adata, arguments, error, message):
    with pytest.raises(error, match=message):
        AnnDataRows(adata, **arguments)


def test_no_counts(counts):
    with pytest.raises(TypeError, match="adata must be an AnnData object, got ndarray"):
        AnnDataRows(counts)
    with pytest.raises(ValueError, match="layer must be given for an object without X"):
        AnnDataRows(anndata.AnnData(obs=pd.DataFrame(index=["a", "b"])))


@pytest.mark.slow
def test_training_and_evaluation(adata, counts):
    """Batches as covariates reach decoder and library prior; the likelihood of rows is that of the dense tensors."""
    data, valid = (AnnDataRows(adata, "counts", ["treated"], rows) for rows in (range(40), range(40, 60)))
    x = torch.from_numpy(counts)
    posterior = nn.Sequential(CountProfile(300.0), GaussianPosterior(mlp(64, [8], 4)))
    likelihood = NegativeBinomialLikelihood(joint_mlp([2, 2], [8], 64), 64, x.mean(0))
    library = LibraryPrior(x[:40], data.covariates[:40]), LibraryPosterior(mlp(64, [8], 2))
    pair = CountVAE(StandardNormal(2), likelihood, posterior, *library)
    settings = FitSettings(valid=valid, progress=False, compile="eager")
    result = fit(pair, data, epochs=3, batch_size=20, seed=0, settings=settings)
    assert result.metrics[-1]["valid_bound"] > result.metrics[0]["valid_bound"]
    found = log_likelihood(pair, valid, 200, proposal="guide", seed=0)
    dense = log_likelihood(pair, {"x": x[40:], "covariates": data.covariates[40:]}, 200, proposal="guide", seed=0)
    torch.testing.assert_close(found.values, dense.values)
