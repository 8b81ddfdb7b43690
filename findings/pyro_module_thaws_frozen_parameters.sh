#!/bin/sh
# pyro-ppl 1.9.2: frozen parameters of a PyroModule become trainable at its first call, and SVI trains them.
#
# At a call a PyroModule registers each nn.Parameter in Pyro's parameter store, which sets requires_grad to True. One call
# of the model is enough, or Predictive; after two steps of SVI a parameter with requires_grad=False has moved, without a
# word. pyro.module leaves those of a plain nn.Module frozen, and warns. (Here: fit freezes them again.)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 pyro-ppl==1.9.2 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import logging

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

logging.disable(logging.CRITICAL)
x = torch.full((4,), 3.0)


def run(loc, x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(loc, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


class OfPyro(PyroModule):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def forward(self, x):
        run(self.loc, x)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def forward(self, x):
        pyro.module("model", self)
        run(self.loc, x)


def guide(x):
    loc = pyro.param("guide_loc", torch.tensor(0.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, 1.0))


for kind in (OfPyro, Plain):
    pyro.clear_param_store()
    model = kind()
    model(x)
    called = model.loc.requires_grad
    pyro.clear_param_store()
    model = kind()
    svi = SVI(model, guide, pyro.optim.SGD({"lr": 0.1}), Trace_ELBO())
    for _ in range(2):
        svi.step(x)
    print(f"{kind.__name__}: trainable after a call {called}, moved by SVI {model.loc.item() != 1.0}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
OfPyro: trainable after a call True, moved by SVI True
Plain: trainable after a call False, moved by SVI False
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
