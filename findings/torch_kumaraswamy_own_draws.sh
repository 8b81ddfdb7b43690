#!/bin/sh
# torch 2.13.0: Kumaraswamy.log_prob is not finite at four of ten draws of the same distribution.
#
# With both concentrations 0.05 in float32, 42 % of the draws round to exactly 1.0, where the density and so log_prob is
# infinite, though the distribution puts no mass there. Losses that use the log-density of a draw become infinite or NaN.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch

torch.manual_seed(0)
distribution = torch.distributions.Kumaraswamy(torch.tensor(0.05), torch.tensor(0.05), validate_args=False)
draws = distribution.sample((100_000,))
print(f"share of draws at 1.0: {(draws == 1).double().mean():.1f}")
print(f"share of draws with finite log_prob: {distribution.log_prob(draws).isfinite().double().mean():.1f}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
share of draws at 1.0: 0.4
share of draws with finite log_prob: 0.6
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
