#!/bin/sh
# dwave-samplers 1.8.0: the states of simulated annealing do not depend on the scale of the energies.
#
# The default schedule is chosen from the coefficients and ends at an inverse temperature of hundreds: draws are near the
# ground state whatever the machine's temperature. Eight spins with couplings of scale 1, 0.1 and 0.001: the mean energy
# in units of the scale is the same to the last digit, where that of the Boltzmann distribution goes to zero. Such draws
# cannot serve as the negative phase of a Boltzmann machine unless a schedule that ends at 1 is passed (beta_range).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 dimod==0.12.23 dwave-samplers==1.8.0
cat > "$folder/program.py" <<'PROGRAM'
import dimod
import numpy as np
from dwave.samplers import SimulatedAnnealingSampler

rng = np.random.default_rng(0)
fields = {i: 0.2 * rng.standard_normal() for i in range(8)}
couplings = {(i, j): 0.2 * rng.standard_normal() for i in range(8) for j in range(i)}
for scale in (1.0, 0.1, 0.001):
    model = dimod.BinaryQuadraticModel(
        {i: scale * h for i, h in fields.items()}, {ij: scale * c for ij, c in couplings.items()}, 0.0, "SPIN"
    )
    annealed = SimulatedAnnealingSampler().sample(model, num_reads=1000, seed=1).record.energy.mean() / scale
    energy = dimod.ExactSolver().sample(model).record.energy
    exact = np.average(energy, weights=np.exp(-energy)) / scale
    print(f"scale {scale}: mean energy annealed {annealed:.2f}, Boltzmann {exact:.2f}, ground {energy.min() / scale:.2f}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
scale 1.0: mean energy annealed -2.42, Boltzmann -0.89, ground -2.48
scale 0.1: mean energy annealed -2.42, Boltzmann -0.09, ground -2.48
scale 0.001: mean energy annealed -2.42, Boltzmann -0.00, ground -2.48
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
