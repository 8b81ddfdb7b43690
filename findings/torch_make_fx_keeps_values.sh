#!/bin/sh
# torch 2.13.0: make_fx refuses .item(), but what .numpy(), .tolist() or the length of a selection gives of a traced tensor
# becomes a constant of the graph, without a warning.
#
# A graph made by torch.fx.experimental.proxy_tensor.make_fx with real tensors (the default) raises where a value is asked
# for by .item() or float(). The same value by x.numpy(), x.tolist() or len(x[x > 0]) is taken of the tensor that was
# traced, and stands in the graph for every later one. torch.manual_seed is not part of the graph either.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import torch
from torch.fx.experimental.proxy_tensor import make_fx


def seeded(x):
    torch.manual_seed(0)
    return x + torch.rand_like(x)


PROGRAMS = {
    "item": lambda x: x * x.max().item(),
    "numpy": lambda x: x * float(x.numpy().max()),
    "tolist": lambda x: x * max(x.tolist()),
    "selection": lambda x: x / len(x[x > 0]),
    "seed": seeded,
}
traced, other = torch.tensor([1.0, 2.0, -3.0]), torch.tensor([10.0, 20.0, 30.0])
for name, program in PROGRAMS.items():
    try:
        graph = make_fx(program)(traced)
    except RuntimeError:
        print(f"{name}: refused")
        continue
    same = torch.equal(graph(other), program(other))
    print(f"{name}: {'as the program' if same else 'another result than the program'} on other data")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
item: refused
numpy: another result than the program on other data
tolist: another result than the program on other data
selection: another result than the program on other data
seed: another result than the program on other data
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
