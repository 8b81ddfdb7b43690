#!/bin/sh
# torch 2.13.0: one call of torch.cond, without torch.compile, ends the validation of arguments of all distributions that
# are made afterwards in the process.
#
# torch.cond traces its branches with the tracer of torch.compile, which sets the default of
# torch.distributions.Distribution to no validation and does not set it back. Every later distribution, in code that has
# nothing to do with the call, takes arguments outside its support without an error; Pyro's distributions inherit the
# default. A context that restores it, such as pyro.validation_enabled, around the call keeps it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch
from torch.distributions import Distribution

print("validation before:", Distribution._validate_args)
x = torch.ones(3)
torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))
print("validation after: ", Distribution._validate_args)
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
validation before: True
validation after:  False
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
