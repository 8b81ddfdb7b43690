"""What the tests of the examples share: where these are, tiny sizes, and what runs of them come to."""

import json
import math
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
TINY = (
    "--data digits --train-images 200 --components 3 --latent 2 --hidden 4 --epochs 2 --warmup 1 --num-samples 30 "
    "--num-images 6"
)
TINY_DVAE = (
    "--data digits --train-images 200 --units 4 --hidden 5 --sampler pcd --chains 10 --sweeps 2 --epochs 2 "
    "--num-samples 30 --num-images 6"
)


def results(path, least=-64.0):
    """What a run came to; ``least`` is a bound in nats that is surely passed: 64 pixels that are hardly learned yet."""
    values = json.loads((path / "results.json").read_text())
    numbers = [values["log_likelihood"], values["standard_error"], values["elbo"], *values["knn_error"].values()]
    assert all(math.isfinite(number) for number in numbers)
    assert least < values["elbo"] < values["log_likelihood"] + 1 < 0
    assert values["seconds_per_epoch"] > 0
    return values


def printed(text):
    """Log-likelihood and standard error in each row of a table."""
    found = re.findall(r"(-\d+\.\d\d) ± (\d+\.\d\d) ", text)
    return [(float(mean), float(error)) for mean, error in found]
