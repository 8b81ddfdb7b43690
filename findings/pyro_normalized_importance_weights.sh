#!/bin/sh
# pyro-ppl 1.9.2: vectorized_importance_weights(..., normalized=True), a documented argument, always raises TypeError.
#
# It calls torch.logsumexp without its dimension. normalized=False works; subtract logsumexp(0) yourself.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pyro-ppl==1.9.2 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import pyro
import pyro.distributions as dist
import torch
from pyro.infer.importance import vectorized_importance_weights


def model():
    pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=torch.tensor(0.5))


def guide():
    pyro.sample("z", dist.Normal(0.2, 0.7))


for normalized in (False, True):
    try:
        weights = vectorized_importance_weights(
            model, guide, num_samples=5, max_plate_nesting=0, normalized=normalized
        )[0]
        print(f"normalized={normalized}: {list(weights.shape)}")
    except TypeError as error:
        print(f"normalized={normalized}: TypeError: {error}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
normalized=False: [5]
normalized=True: TypeError: logsumexp() missing 1 required positional arguments: "dim"
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
