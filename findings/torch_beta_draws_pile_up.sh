#!/bin/sh
# torch 2.13.0: draws of Beta and Gamma with a small shape are clamped to the smallest normal float and pile up there.
#
# For shape 0.001 in float32 nine draws of ten are exactly 1.18e-38, with a finite log_prob and no warning; the mean of
# log v over the draws is then -84 where its exact value, digamma(0.001) - digamma(1.001), is -1000. Estimates that
# use the logarithm of a draw (sparse Dirichlet weights, stick breaking) are wrong by a factor of ten.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch

torch.manual_seed(0)
shape = torch.full((100_000,), 0.001)
beta = torch.distributions.Beta(shape, torch.ones_like(shape))
draws = beta.rsample()
smallest = torch.finfo(torch.float32).tiny
exact = (torch.digamma(shape[0].double()) - torch.digamma(shape[0].double() + 1)).item()
print(f"share of draws that are exactly {smallest:.2e}: {(draws == smallest).double().mean():.1f}")
print(f"all log_prob finite: {bool(beta.log_prob(draws).isfinite().all())}")
print(f"mean of log v: {draws.double().log().mean():.0f}, exact {exact:.0f}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
share of draws that are exactly 1.18e-38: 0.9
all log_prob finite: True
mean of log v: -84, exact -1000
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
