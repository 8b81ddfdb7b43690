"""Densities of counts against those of scvi-tools 1.4.2, as benchmarks/count_densities.py printed them."""

import missing
import pytest
import torch
from torch import nn

from pyrodgm.distributions import NegativeBinomialCounts, ZeroInflatedNegativeBinomialCounts
from pyrodgm.likelihoods import NegativeBinomialLikelihood

# count, library size, share of it, theta, logit of a further zero: log-probability, zero-inflated
TABLE = [
    (0, 300, 0.0001, 0.3, -3, -0.0285930530322, -0.0272183749119),
    (0, 300, 0.0001, 2, -0.5, -0.0297772248397, -0.018430674445),
    (0, 300, 0.0001, 40, 0.8, -0.0299887556143, -0.00920145964416),
    (0, 300, 0.02, 0.3, 2.5, -0.913356721793, -0.0464898492297),
    (0, 300, 0.02, 2, -3, -2.77258871474, -2.23528392382),
    (0, 300, 0.02, 40, -0.5, -5.5904776937, -0.967940770365),
    (0, 20000, 0.0001, 0.3, 0.8, -0.611064569483, -0.152862314311),
    (0, 20000, 0.0001, 2, 2.5, -1.38629435612, -0.0585762083522),
    (0, 20000, 0.0001, 40, -3, -1.9516065663, -1.69971872807),
    (0, 20000, 0.02, 0.3, -0.5, -2.1588561111, -0.799824056054),
    (0, 20000, 0.02, 2, 0.8, -10.6066098062, -0.371089544281),
    (0, 20000, 0.02, 40, 2.5, -95.9158109028, -0.0788897342925),
    (1, 300, 0.0001, 0.3, -3, -3.63046082713, -3.6790481787),
    (1, 300, 0.0001, 2, -0.5, -3.55122340625, -4.02530039043),
    (1, 300, 0.0001, 40, 0.8, -3.53729603874, -4.70839670469),
    (1, 300, 0.02, 0.3, 2.5, -2.16611969021, -4.7450094245),
    (1, 300, 0.02, 2, -3, -2.36712360621, -2.41571095779),
    (1, 300, 0.02, 40, -0.5, -3.9384801654, -4.41255714958),
    (1, 20000, 0.0001, 0.3, 0.8, -1.95479931553, -3.12589998148),
    (1, 20000, 0.0001, 2, 2.5, -1.38629435362, -3.96518408791),
    (1, 20000, 0.0001, 40, -3, -1.30724954515, -1.35583689672),
    (1, 20000, 0.02, 0.3, -0.5, -3.36357863432, -3.8376556185),
    (1, 20000, 0.02, 2, 0.8, -9.91845016712, -11.0895508331),
    (1, 20000, 0.02, 40, 2.5, -92.3222416285, -94.9011313628),
    (7, 300, 0.0001, 0.3, -3, -19.2869246743, -19.3355120258),
    (7, 300, 0.0001, 2, -0.5, -27.4524892169, -27.9265662011),
    (7, 300, 0.0001, 40, 0.8, -32.6076425024, -33.7787431683),
    (7, 300, 0.02, 0.3, 2.5, -3.72795470328, -6.30684443758),
    (7, 300, 0.02, 2, -3, -2.70692167731, -2.75550902888),
    (7, 300, 0.02, 40, -0.5, -2.05299776048, -2.52707474466),
    (7, 20000, 0.0001, 0.3, 0.8, -4.0624649944, -5.23356566035),
    (7, 20000, 0.0001, 2, 2.5, -4.15888306086, -6.73777279515),
    (7, 20000, 0.0001, 40, -3, -5.46761018312, -5.5161975347),
    (7, 20000, 0.02, 0.3, -0.5, -4.6371709762, -5.11124796038),
    (7, 20000, 0.02, 2, 0.8, -8.56208105506, -9.73318172101),
    (7, 20000, 0.02, 40, 2.5, -78.7873287476, -81.3662184818),
    (160, 300, 0.0001, 0.3, -3, -388.340864404, -388.389451756),
    (160, 300, 0.0001, 2, -0.5, -669.283310774, -669.757387759),
    (160, 300, 0.0001, 40, 0.8, -1055.60281386, -1056.77391453),
    (160, 300, 0.02, 0.3, 2.5, -13.3688591642, -15.9477488985),
    (160, 300, 0.02, 2, -3, -43.7203158754, -43.7689032269),
    (160, 300, 0.02, 40, -0.5, -235.674532969, -236.148609953),
    (160, 20000, 0.0001, 0.3, 0.8, -27.6220514332, -28.7931520991),
    (160, 20000, 0.0001, 2, 2.5, -107.208438481, -109.787328215),
    (160, 20000, 0.0001, 40, -3, -393.258142986, -393.306730337),
    (160, 20000, 0.02, 0.3, -0.5, -6.92788732161, -7.40196430579),
    (160, 20000, 0.02, 2, 0.8, -6.32321208293, -7.49431274888),
    (160, 20000, 0.02, 40, 2.5, -15.3483868168, -17.9272765511),
]
NAMES = ("x", "library", "share", "theta", "gate", "plain", "inflated")


@pytest.fixture
def table():
    return dict(zip(NAMES, torch.tensor(TABLE).T, strict=True))


def assert_close(got, table, kind):
    """scvi-tools adds 1e-8 to mean, theta and their sum: that moves its values by 1e-8 (1 + count / mean) at most."""
    moved = 1e-8 * (1 + table["x"] / (table["library"] * table["share"]))
    assert ((got - table[kind]).abs() <= 1.01 * moved + 1e-11 * table[kind].abs()).all()


def test_by_mean_and_dispersion(table):
    parameters = (table["library"] * table["share"]).log(), table["theta"].log()
    plain = NegativeBinomialCounts(*parameters).log_prob(table["x"])
    inflated = ZeroInflatedNegativeBinomialCounts(*parameters, table["gate"]).log_prob(table["x"])
    assert_close(plain, table, "plain")
    assert_close(inflated, table, "inflated")


@pytest.mark.parametrize("kind", ["plain", "inflated"])
def test_by_library_size_and_shares(table, kind):
    """A likelihood whose network gives these parameters, of two genes that share the library size."""
    zero_inflated = kind == "inflated"
    scores = torch.stack([table["share"].log(), (-table["share"]).log1p()], -1) + 3.0
    others = [table["theta"].log(), table["gate"]][: 1 + zero_inflated]
    outputs = torch.cat([scores, *(value.unsqueeze(-1).expand(-1, 2) for value in others)], -1)
    likelihood = NegativeBinomialLikelihood(nn.Identity(), 2, dispersion="datum", zero_inflated=zero_inflated)
    genes = likelihood(outputs, log_library=table["library"].log().unsqueeze(-1)).base_dist
    got = genes.log_prob(table["x"].unsqueeze(-1).expand(-1, 2))[:, 0]
    assert_close(got, table, kind)


def test_the_table_is_that_of_the_installed_scvi_tools(table):
    scvi = pytest.importorskip("scvi.distributions", reason=missing.library("scvi-tools"))
    mean, x = table["library"] * table["share"], table["x"]
    plain = scvi.NegativeBinomial(mu=mean, theta=table["theta"])
    logits = mean.log() - table["theta"].log()
    by_odds = scvi.NegativeBinomial(total_count=table["theta"], logits=logits)
    inflated = scvi.ZeroInflatedNegativeBinomial(mu=mean, theta=table["theta"], zi_logits=table["gate"])
    torch.testing.assert_close(plain.log_prob(x), table["plain"], rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(inflated.log_prob(x).flatten(), table["inflated"], rtol=1e-11, atol=1e-13)
    assert_close(by_odds.log_prob(x), table, "plain")
