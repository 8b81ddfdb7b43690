"""Densities of counts beside those of scvi-tools: the table that the tests hold, and the distances over many draws.

scvi-tools goes into an environment of its own:

python -m venv peers
peers/bin/pip install -e .[zoo] scvi-tools==1.4.2
peers/bin/python benchmarks/count_densities.py
"""

import itertools
from dataclasses import dataclass

import scvi
import torch
import tyro
from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
from torch import Tensor

from pyrodgm.distributions import NegativeBinomialCounts, ZeroInflatedNegativeBinomialCounts

COUNTS, LIBRARIES, SHARES, DISPERSIONS = (0, 1, 7, 160), (300.0, 20_000.0), (0.0001, 0.02), (0.3, 2.0, 40.0)
GATES = (-3.0, -0.5, 0.8, 2.5)


@dataclass(frozen=True)
class Config:
    """Print a table of reference densities and how far this library's lie from them."""

    draws: int = 20_000
    """Random points."""
    seed: int = 0
    """Their seed."""


def theirs(x: Tensor, mean: Tensor, theta: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of scvi-tools by mean and inverse dispersion, plain and zero-inflated."""
    plain = NegativeBinomial(mu=mean, theta=theta)
    inflated = ZeroInflatedNegativeBinomial(mu=mean, theta=theta, zi_logits=gate)
    return plain.log_prob(x), inflated.log_prob(x)


def ours(x: Tensor, mean: Tensor, theta: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    parameters = mean.log(), theta.log()
    plain = NegativeBinomialCounts(*parameters).log_prob(x)
    return plain, ZeroInflatedNegativeBinomialCounts(*parameters, gate).log_prob(x)


def print_table() -> None:
    print("count, library size, share of it, theta, logit of a further zero: log-probability, zero-inflated")
    for i, (count, library, share, theta) in enumerate(itertools.product(COUNTS, LIBRARIES, SHARES, DISPERSIONS)):
        gate = GATES[i % len(GATES)]
        values = (torch.tensor(v, dtype=torch.float64) for v in (count, library * share, theta, gate))
        plain, inflated = (float(value) for value in theirs(*values))
        print(f"    ({count}, {library:g}, {share:g}, {theta:g}, {gate:g}, {plain:.12g}, {inflated:.12g}),")


def print_distances(config: Config) -> None:
    torch.manual_seed(config.seed)
    mean, theta = (1 + 2 * torch.randn(config.draws).double()).exp(), (1.5 * torch.randn(config.draws).double()).exp()
    gate = 2 * torch.randn(config.draws).double()
    point = NegativeBinomialCounts(mean.log(), theta.log()).sample(), mean, theta, gate
    single = [values.float() for values in point]
    exact = ours(*(values.double() for values in single))
    print("\n| | apart in float64 | error in float32, here | error in float32, scvi-tools |\n|---|---|---|---|")
    for k, name in enumerate(("negative binomial", "zero-inflated")):
        apart = distance(ours(*point)[k], theirs(*point)[k])
        print(
            f"| {name} | {apart} | {distance(ours(*single)[k], exact[k])} | {distance(theirs(*single)[k], exact[k])} |"
        )


def distance(values: Tensor, reference: Tensor) -> str:
    """The largest one, relative to 1 + the size of the value."""
    return f"{float(((values.double() - reference).abs() / (1 + reference.abs())).max()):.1e}"


def main(config: Config) -> None:
    print(f"scvi-tools {scvi.__version__}, torch {torch.__version__}")
    print_table()
    print_distances(config)


if __name__ == "__main__":
    main(tyro.cli(Config))
