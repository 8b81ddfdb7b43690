"""Time of KL(Kumaraswamy || Beta) with gradients, 100 x 49 fractions, beside the published ten-term series.

python benchmarks/kl_speed.py
"""

import time

import torch
from pyro.distributions import Beta
from torch.distributions import kl_divergence

from pyrodgm.distributions import Kumaraswamy, kl_kumaraswamy_beta_series

ROUNDS = 200


def main() -> None:
    torch.manual_seed(0)
    a, b = (torch.rand(100, 49).mul(3.0).exp().requires_grad_() for _ in range(2))
    prior = Beta(torch.ones(()), torch.tensor(5.0))

    def seconds(divergence) -> float:  # noqa: ANN001
        start = time.perf_counter()
        torch.autograd.grad(divergence(Kumaraswamy(a, b, validate_args=False), prior).sum(), (a, b))
        return time.perf_counter() - start

    # Interleaved, so that a busy machine slows both alike.
    times = [(seconds(kl_divergence), seconds(kl_kumaraswamy_beta_series)) for _ in range(ROUNDS)]
    ours, series = (sorted(column)[ROUNDS // 2] * 1e3 for column in zip(*times, strict=True))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, 100 x 49, median of {ROUNDS}")
    print(f"quadrature       {ours:6.2f} ms")
    print(f"ten-term series  {series:6.2f} ms")
    print(f"ratio            {ours / series:6.2f}")


if __name__ == "__main__":
    main()
