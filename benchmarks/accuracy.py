"""Prints docs/accuracy.md: float32 error of pyrodgm's Kumaraswamy beside torch's, and of its KL beside the old series.

python benchmarks/accuracy.py > docs/accuracy.md
"""

import mpmath as mp
import torch
from pyro.distributions import Beta
from torch.distributions import Kumaraswamy as TorchKumaraswamy
from torch.distributions import kl_divergence

from pyrodgm.distributions import Kumaraswamy, kl_kumaraswamy_beta_series

GRID = [0.01, 0.2, 1.0, 5.0, 50.0, 1000.0]
DRAWS = 10_000_000
QUANTILES = [0.01, 0.25, 0.5, 0.75, 0.99]
ALPHA, BETA = 1.0, 5.0


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |")


def header(*cells: str) -> None:
    row(*cells)
    print("|" + " --- |" * len(cells))


def error(got: float, expected: mp.mpf) -> float:
    """Relative error, absolute where the truth is 0; infinite for a result that is not finite."""
    return float(abs(mp.mpf(got) - expected) / (abs(expected) or 1)) if mp.isfinite(mp.mpf(got)) else float("inf")


def show(value: float) -> str:
    return "not finite" if value == float("inf") else f"{value:.0e}"


def bad_draws(family: type, a: float, b: float) -> tuple[int, int, int]:
    """Draws at 0 or 1, log-densities and gradients that are not finite, of DRAWS float32 ones."""
    outside = densities = gradients = 0
    torch.manual_seed(0)
    for _ in range(10):
        params = [torch.full((DRAWS // 10,), x, requires_grad=True) for x in (a, b)]
        d = family(*params, validate_args=False)
        value = d.rsample()
        log_prob = d.log_prob(value)
        by_parameter = torch.stack(torch.autograd.grad(log_prob.sum(), params))
        outside += int(((value <= 0) | (value >= 1)).sum())
        densities += int((~log_prob.isfinite()).sum())
        gradients += int((~by_parameter.isfinite().all(0)).sum())
    return outside, densities, gradients


def log_prob_errors(a: float, b: float) -> tuple[float, float]:
    """Largest relative errors of the float32 log-density at quantiles that float32 holds, ours and torch's."""
    worst = [0.0, 0.0]
    for q in QUANTILES:
        v = torch.tensor(float((1 - (1 - mp.mpf(q)) ** (1 / mp.mpf(b))) ** (1 / mp.mpf(a))))
        # Near 0 and 1 the value itself is the nearest number that float32 has.
        v = v.clamp(torch.finfo(v.dtype).tiny, 1 - 2**-24)
        x, a_, b_ = (mp.mpf(torch.tensor(p).item()) for p in (v.item(), a, b))
        expected = mp.log(a_ * b_) + (a_ - 1) * mp.log(x) + (b_ - 1) * mp.log(1 - x**a_)
        for i, family in enumerate((Kumaraswamy, TorchKumaraswamy)):
            got = family(torch.tensor(a), torch.tensor(b), validate_args=False).log_prob(v).item()
            worst[i] = max(worst[i], error(got, expected))
    return worst[0], worst[1]


def exact_kl(a: float, b: float) -> mp.mpf:
    a, b = mp.mpf(torch.tensor(a).item()), mp.mpf(torch.tensor(b).item())

    def log1m(x: mp.mpf) -> mp.mpf:
        e = mp.exp(x)
        y = mp.exp(-e / b)
        distance = -(mp.log1p(-y) if e > b else mp.log(-mp.expm1(-e / b))) / a
        if distance > 1:
            inner = mp.log1p(-mp.exp(-distance))
        else:
            inner = mp.log(-mp.expm1(-distance)) if distance > mp.mpf(10) ** -25 else -e / b - mp.log(a)
        return e * mp.exp(-e) * inner

    expected_log1m = mp.quad(log1m, [-90, -60, -40, -30, -20, -15, -10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5])
    closed = mp.log(a * b) - (a - ALPHA) * mp.harmonic(b) / a - 1 + 1 / b + mp.log(mp.beta(ALPHA, BETA))
    return closed - (BETA - 1) * expected_log1m


def main() -> None:
    mp.mp.dps = 60
    print("# Accuracy\n")
    print(f"Printed by `python benchmarks/accuracy.py` with torch {torch.__version__}; the oracle is mpmath.\n")
    print("## Log-density of Kumaraswamy(a, b) in float32\n")
    print(f"Largest relative error at the quantiles {', '.join(map(str, QUANTILES))}.\n")
    header("a", "b", "pyrodgm", "torch")
    for a in GRID:
        for b in GRID:
            row(a, b, *map(show, log_prob_errors(a, b)))
    print("\n## KL(Kumaraswamy(a, b) ‖ Beta(1, 5)) in float32\n")
    print("Relative error; the series is the published one of ten terms.\n")
    header("a", "b", "exact, nats", "pyrodgm", "ten-term series")
    prior = Beta(torch.tensor(ALPHA), torch.tensor(BETA))
    for a in GRID:
        for b in GRID:
            p, expected = Kumaraswamy(torch.tensor(a), torch.tensor(b)), exact_kl(a, b)
            results = kl_divergence(p, prior).item(), kl_kumaraswamy_beta_series(p, prior).item()
            row(a, b, f"{float(expected):.4g}", *(show(error(x, expected)) for x in results))
    print(f"\n## Bad draws of {DRAWS:,} in float32\n")
    print("Draws at exactly 0 or 1; draws whose own log-density, or its gradient, is not finite.\n")
    header(
        "a", "b", *(f"{name}: {what}" for name in ("pyrodgm", "torch") for what in ("0 or 1", "density", "gradient"))
    )
    for a, b in [(0.01, 0.01), (0.2, 0.2), (0.2, 5.0), (1.0, 0.2), (5.0, 0.05), (5.0, 5.0), (1000.0, 1000.0)]:
        row(a, b, *(f"{n:,}" for family in (Kumaraswamy, TorchKumaraswamy) for n in bad_draws(family, a, b)))


if __name__ == "__main__":
    main()
