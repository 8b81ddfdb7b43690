#!/bin/sh
# torch 2.13.0: ReduceLROnPlateau with its default threshold_mode="rel" takes a falling negative score for a rising one.
#
# In mode="max" a score is better if it exceeds best * (1 + threshold), which lies below a negative best. A score that
# falls from -50 by a fiftieth each epoch counts as an improvement of more than a tenth every time, and the learning rate
# is never reduced; the same scores plus 100 reduce it each time. Log-likelihoods and evidence bounds are negative.
# mode="min" on negative losses has the same fault. threshold_mode="abs" does what is asked.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch


def rate(scores, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, **options)
    for score in scores:
        scheduler.step(score)
    return optimizer.param_groups[0]["lr"]


falling = [-50.0, -51.0, -52.0, -53.0]
print("scores below 0, rel:", rate(falling, mode="max", threshold=0.1))
print("the same plus 100, rel:", rate([score + 100 for score in falling], mode="max", threshold=0.1))
print("scores below 0, abs:", rate(falling, mode="max", threshold=0.1, threshold_mode="abs"))
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
scores below 0, rel: 1.0
the same plus 100, rel: 0.125
scores below 0, abs: 0.125
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
