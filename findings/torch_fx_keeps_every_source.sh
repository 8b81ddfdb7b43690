#!/bin/sh
# torch 2.13.0: the source of every graph module stays in memory until the process ends, long after the graph is gone.
#
# torch.fx writes Python code for each GraphModule, runs it, and puts the text into a table of its own and into linecache
# under a new name each time, for tracebacks. Neither is cleared when the module is freed, so a process that traces or
# compiles again and again (an evaluation in a loop, a search, a notebook) grows by the length of each program: 4 to 10 KB
# for a graph of a hundred operations.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import gc
import linecache
import weakref

import torch
from torch.fx.experimental.proxy_tensor import make_fx

freed = []
for _ in range(100):
    graph = make_fx(lambda x: x.sin().sum())(torch.ones(3))
    graph(torch.ones(3))
    weakref.finalize(graph, freed.append, 1)
del graph
gc.collect()
kept = [name for name in linecache.cache if name.startswith("<eval_with_key>")]
print(f"graphs freed: {len(freed)}; sources kept: {len(kept)}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
graphs freed: 100; sources kept: 100
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
