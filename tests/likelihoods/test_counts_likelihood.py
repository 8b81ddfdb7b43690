import pytest
import torch
from torch import nn

from pyrodgm.infer.evaluation.refined.curvature import fisher_features
from pyrodgm.likelihoods import NegativeBinomialLikelihood, PoissonLikelihood

MEAN = torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64)


def build(counts, net, **kwargs):
    if counts == "poisson":
        return PoissonLikelihood(net, **kwargs)
    return NegativeBinomialLikelihood(net, 3, zero_inflated=counts == "zero-inflated", **kwargs)


@pytest.mark.parametrize(("counts", "parts"), [("poisson", 1), ("negative-binomial", 1), ("zero-inflated", 2)])
def test_untrained_net_of_zeros_predicts_the_mean(counts, parts):
    zeros = torch.zeros(2, 3 * parts)
    kept = 0.5 if counts == "zero-inflated" else 1.0
    expected = torch.tensor([1.0, 3.0, 1e-4]).expand(2, 3)
    likelihood = build(counts, nn.Identity(), mean=MEAN)
    torch.testing.assert_close(likelihood(zeros).mean, kept * expected)
    log_library = torch.tensor([[2.0], [-1.0]])
    with_library = likelihood(zeros, log_library=log_library).mean
    torch.testing.assert_close(with_library, kept * expected / expected.sum(-1, keepdim=True) * log_library.exp())


def test_dispersion_by_gene_and_by_datum():
    """Chunks of the output are scores, dispersions and gates, in this order."""
    scores, log_theta, gates = torch.randn(3, 5, 3)
    by_gene = NegativeBinomialLikelihood(nn.Identity(), 3)
    with torch.no_grad():
        by_gene.log_inverse_dispersion.copy_(torch.tensor([-20.0, 1.0, 20.0]))
    assert by_gene(scores).base_dist.log_inverse_dispersion[0].tolist() == [-8.0, 1.0, 12.0]
    both = NegativeBinomialLikelihood(nn.Identity(), 3, dispersion="datum", zero_inflated=True)
    p = both(torch.cat([scores, log_theta, gates], -1)).base_dist
    assert torch.equal(p.log_mean, scores)
    assert torch.equal(p.log_inverse_dispersion, log_theta)
    assert torch.equal(p.gate_logits, gates)
    assert both.log_inverse_dispersion is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": -MEAN}, "mean must hold numbers from 0, got values from -3 to"),
        ({"dispersion": "cell"}, "dispersion must be one of gene, datum, got 'cell'"),
        ({"log_inverse_dispersion_range": (1.0, 1.0)}, "log_inverse_dispersion_range must be increasing"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        NegativeBinomialLikelihood(nn.Identity(), 3, **arguments)
    with pytest.raises(ValueError, match=r"net must give 2 values for each of 3 counts, got \[5, 3\]"):
        NegativeBinomialLikelihood(nn.Identity(), 3, zero_inflated=True)(torch.zeros(5, 3))


@pytest.mark.parametrize("counts", ["poisson", "negative-binomial", "zero-inflated"])
def test_fisher_information(counts):
    """J'J of the features is the sum over counts of probability times score times score."""
    likelihood = build(counts, nn.Identity())
    parts = 2 if counts == "zero-inflated" else 1
    outputs = torch.tensor([0.5, -2.0, 3.0, -1.0, 2.0, 0.3])[: 3 * parts]
    jacobian = torch.func.jacfwd(lambda out: torch.cat(fisher_features(likelihood(out)), -1))(outputs)
    x = torch.arange(3000.0).unsqueeze(-1).expand(3000, 3)
    log_prob = lambda out: likelihood(out).base_dist.log_prob(x)  # noqa: E731
    scores, probs = torch.func.jacfwd(log_prob)(outputs), log_prob(outputs).exp()
    exact = torch.einsum("xg,xgi,xgj->ij", probs, scores, scores)
    torch.testing.assert_close(jacobian.mT @ jacobian, exact, rtol=1e-6, atol=1e-9)
