#!/bin/sh
# torch 2.13.0 (CPU): expm1 in a graph compiled by torch.compile is computed as exp(x) - 1.
#
# Eager expm1 is exact to rounding; the compiled one has a relative error of 2e-5 at x = -1e-12 in float64 and returns
# exactly 0 at x = -1e-9 in float32. Anything built on expm1 for accuracy near 0 (log(1 - exp(x)), survival functions)
# changes by orders of magnitude when it is compiled. exp(x) + 1 times tanh(x / 2) is exact in both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch

compiled = torch.compile(lambda x: torch.expm1(x) * 1.0)
for dtype, value in ((torch.float64, -1e-12), (torch.float32, -1e-9)):
    x = torch.full((16,), value, dtype=dtype)
    error = (compiled(x) / torch.expm1(x) - 1).abs().max()
    print(f"{dtype} at {value}: relative error of compiled expm1 is {error:.0e}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
torch.float64 at -1e-12: relative error of compiled expm1 is 2e-05
torch.float32 at -1e-09: relative error of compiled expm1 is 1e+00
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
