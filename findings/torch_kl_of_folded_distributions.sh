#!/bin/sh
# torch 2.13.0 with pyro-ppl 1.9.2: kl_divergence of two folded normals is that of the normals before they were folded.
#
# |z| has one law for z ~ N(1, 1) and for z ~ N(-1, 1), so that the divergence is 0; kl_divergence gives 2. The rule for two
# TransformedDistributions with equal transforms returns the divergence of their bases, which is right where a transform
# has an inverse and only an upper bound where it has none, as for the absolute value. No error, no warning.
# TraceMeanField_ELBO takes it for the exact divergence; Trace_ELBO, which samples, is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pyro-ppl==1.9.2 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

one = torch.tensor(1.0)
q, p = dist.FoldedDistribution(dist.Normal(one, 1.0)), dist.FoldedDistribution(dist.Normal(-one, 1.0))
x = torch.linspace(0.1, 4.0, 50)
print(f"largest difference of the log-densities: {(q.log_prob(x) - p.log_prob(x)).abs().max():.1f}")
print(f"kl_divergence: {torch.distributions.kl_divergence(q, p):.1f}")
for elbo in (TraceMeanField_ELBO(), Trace_ELBO()):
    loss = elbo.loss(lambda: pyro.sample("z", p), lambda: pyro.sample("z", q))
    print(f"{type(elbo).__name__}: {abs(loss):.1f}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
largest difference of the log-densities: 0.0
kl_divergence: 2.0
TraceMeanField_ELBO: 2.0
Trace_ELBO: 0.0
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
