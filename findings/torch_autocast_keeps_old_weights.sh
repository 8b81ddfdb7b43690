#!/bin/sh
# torch 2.13.0 (CPU): inside torch.autocast a layer goes on using the weights from before an in-place update.
#
# autocast caches the low-precision copy of a weight that requires grad until the context ends. A training loop that
# lies inside one autocast context as a whole, optimiser steps included, therefore trains on stale weights: the forward
# pass after an update returns what it returned before. PyTorch's examples open the context anew each step, where this
# does not show. cache_enabled=False avoids it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch

for cache in (True, False):
    layer = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    x = torch.ones(1, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=cache):
        before = layer(x)
        before.sum().backward()
        optimizer.step()
        after = layer(x)
    print(f"cache_enabled={cache}: output moved by {(before - after).abs().item():.1f} after a step of 5.0")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
cache_enabled=True: output moved by 0.0 after a step of 5.0
cache_enabled=False: output moved by 5.0 after a step of 5.0
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
