#!/bin/sh
# torch 2.13.0: functional_call, which leaves a module unchanged, changes one whose submodule is registered twice.
#
# A layer under two attribute names (a tied layer, an encoder shared by two parts) holds the tensors of the call
# afterwards: its Parameter is gone, replaced by a plain tensor with the values that were to be used once. The next
# ordinary forward pass uses them, and an optimiser goes on updating a Parameter that no module holds. No error is raised.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch
from torch import nn
from torch.func import functional_call


class Chain(nn.Module):
    def __init__(self, shared):
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = self.first if shared else nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.second(self.first(x))


for shared in (False, True):
    chain = Chain(shared)
    before = chain.first.weight
    functional_call(chain, {"first.weight": 3 * torch.eye(2)}, (torch.ones(1, 2),))
    same = chain.first.weight is before
    print(f"shared={shared}: weight is the Parameter it was: {same}; type {type(chain.first.weight).__name__}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
shared=False: weight is the Parameter it was: True; type Parameter
shared=True: weight is the Parameter it was: False; type Tensor
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
