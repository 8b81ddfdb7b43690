#!/bin/sh
# arviz-stats 0.8.0: the Pareto k-hat of importance weights falls to its smallest value where they are worst.
#
# With normal log-weights of standard deviation 5 and 50, k-hat is about 2 and 15. At 500 the effective sample size is
# 1.0, one draw holds all the weight, and k-hat is 0.048: far below 0.7, as for near-perfect weights. The tail is
# exponentiated relative to its maximum; all but the maximum underflows, and what is left is the prior of the fit.
# A user who flags k-hat > 0.7 is told that nothing is wrong. (Here: check the effective sample size too.)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 arviz-stats==0.8.0
cat > "$folder/program.py" <<'PROGRAM'
import numpy as np
from arviz_stats.base import array_stats

rng = np.random.default_rng(0)
for deviation in (1, 5, 50, 500):
    log_weights = deviation * rng.standard_normal(1000)
    with np.errstate(all="ignore"):
        _, k_hat = array_stats.psislw(-log_weights)
    weights = np.exp(log_weights - log_weights.max())
    ess = weights.sum() ** 2 / (weights**2).sum()
    print(f"sd {deviation}: k-hat {float(k_hat):.2f}, effective sample size {ess:.1f} of 1000")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
sd 1: k-hat 0.37, effective sample size 411.6 of 1000
sd 5: k-hat 1.61, effective sample size 7.1 of 1000
sd 50: k-hat 14.51, effective sample size 1.0 of 1000
sd 500: k-hat 0.05, effective sample size 1.0 of 1000
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
