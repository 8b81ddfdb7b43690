#!/bin/sh
# dimod 0.12.23 with dwave-samplers 1.8.0: the columns of a SampleSet come in different orders from different samplers.
#
# For variables added as b, a, c the exact solver, simulated annealing, steepest descent, tabu search and tree
# decomposition return columns a, b, c; the random sampler returns b, a, c. Code that reads record.sample by position is
# right with some samplers and silently permuted with others; SampleSet.variables says the order. The dtype differs too
# (int8 or int32), and a product of int8 states wraps: 200 ones times 200 ones is -56.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 dimod==0.12.23 dwave-samplers==1.8.0
cat > "$folder/program.py" <<'PROGRAM'
import dimod
import numpy as np
from dwave.samplers import RandomSampler, SimulatedAnnealingSampler, TreeDecompositionSampler

model = dimod.BinaryQuadraticModel({"b": -1.0, "a": 1.0, "c": 0.5}, {("b", "a"): -0.5}, 0.0, "SPIN")
for sampler in (SimulatedAnnealingSampler(), RandomSampler(), TreeDecompositionSampler()):
    found = sampler.sample(model, num_reads=4)
    print(type(sampler).__name__, list(found.variables), found.record.sample.dtype)
ones = np.ones(200, dtype=SimulatedAnnealingSampler().sample(model, num_reads=1).record.sample.dtype)
print("product of 200 ones with themselves:", ones @ ones)
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
SimulatedAnnealingSampler ['a', 'b', 'c'] int8
RandomSampler ['b', 'a', 'c'] int8
TreeDecompositionSampler ['a', 'b', 'c'] int32
product of 200 ones with themselves: -56
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
