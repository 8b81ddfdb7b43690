#!/bin/sh
# pyro-ppl 1.9.2: RenyiELBO (the importance-weighted bound) on a subsampled plate rises above the exact log evidence.
#
# The plate's scale multiplies log-weights inside the log-mean-exp, so that a bound of scaled weights is averaged, not a
# scaled bound. 200 data from N(0, 2), z ~ N(0, 1), x ~ N(z, 1), evidence in closed form: with all data the bound lies
# below it, with batches of 20 and of 2 it lies above it by many nats, in expectation over batches. Trace_ELBO on the same
# programs is unbiased.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pyro-ppl==1.9.2 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import logging

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import RenyiELBO, Trace_ELBO

logging.disable(logging.CRITICAL)
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
x = torch.randn(200) * 2**0.5
evidence = dist.Normal(0.0, 2**0.5).log_prob(x).sum()


def model(batch):
    with pyro.plate("data", len(x), subsample_size=len(batch)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=batch)


def guide(batch):
    with pyro.plate("data", len(x), subsample_size=len(batch)):
        pyro.sample("z", dist.Normal(batch / 2, 1.2))


def above(elbo, size):
    bounds = [-elbo.loss(model, guide, x[torch.randperm(200)[:size]]) for _ in range(300)]
    return sum(bounds) / 300 - evidence


renyi = RenyiELBO(alpha=0.0, num_particles=20, vectorize_particles=True, max_plate_nesting=1)
for size in (200, 20, 2):
    print(f"batches of {size}: importance-weighted bound above the evidence: {bool(above(renyi, size) > 5)}")
    print(f"batches of {size}: ELBO above the evidence: {bool(above(Trace_ELBO(), size) > 5)}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
batches of 200: importance-weighted bound above the evidence: False
batches of 200: ELBO above the evidence: False
batches of 20: importance-weighted bound above the evidence: True
batches of 20: ELBO above the evidence: False
batches of 2: importance-weighted bound above the evidence: True
batches of 2: ELBO above the evidence: False
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
