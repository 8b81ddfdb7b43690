#!/bin/sh
# torch 2.13.0: torch.special.ndtr has no lower tail in float64; below -8.3 it is exactly 0, where SciPy's has all digits.
#
# It is computed as half of one plus an error function, so that a probability of 1e-12 has six correct digits, one of
# 6e-16 two and one of 1e-19 none. log_ndtr of the same library is exact there, and its exponential is what ndtr should
# be. Coordinates made by quantile functions, F^-1(Phi(u)), lose their tail without a word. (Here: exp(log_ndtr(u)).)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 scipy==1.17.1
cat > "$folder/program.py" <<'PROGRAM'
import scipy.special
import torch

for u in (-5.0, -7.0, -8.0, -9.0, -12.0):
    x = torch.tensor(u, dtype=torch.float64)
    exact, found = scipy.special.ndtr(u), torch.special.ndtr(x).item()
    right = abs(torch.special.log_ndtr(x).exp().item() / exact - 1) < 1e-13
    print(f"Phi({u:.0f}) = {exact:.2e}: ndtr off by {abs(found / exact - 1):.0e} of it, exp(log_ndtr) right: {right}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
Phi(-5) = 2.87e-07: ndtr off by 4e-11 of it, exp(log_ndtr) right: True
Phi(-7) = 1.28e-12: ndtr off by 2e-06 of it, exp(log_ndtr) right: True
Phi(-8) = 6.22e-16: ndtr off by 2e-02 of it, exp(log_ndtr) right: True
Phi(-9) = 1.13e-19: ndtr off by 1e+00 of it, exp(log_ndtr) right: True
Phi(-12) = 1.78e-33: ndtr off by 1e+00 of it, exp(log_ndtr) right: True
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
