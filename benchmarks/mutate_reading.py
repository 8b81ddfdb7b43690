"""Break each rule of what counts in a bound, one at a time, and see that the random programs notice.

    python benchmarks/mutate_reading.py

Works on a copy of the package. Exits with 1 if a rule can be broken unnoticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECK = """
import sys, warnings, torch
warnings.simplefilter("ignore")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
from pyrodgm.testing.check_estimators import check_estimators
from pyrodgm.testing import check_mixtures, random_mixtures
from pyrodgm.testing.programs import random_programs
checks = [(check_estimators, features) for features in random_programs(180)]
checks[30:30] = [(check_mixtures, features) for features in random_mixtures(40)]
for check, features in checks:
    try:
        check(features)
    except Exception as error:
        print(features.names(), type(error).__name__, str(error)[:150].replace(chr(10), " "))
        sys.exit(1)
"""
# ruff: noqa: E501
READING, ROWS, ELBO = "estimators/reading.py", "estimators/rows.py", "estimators/elbo.py"
# name, file in pyrodgm/infer, what stands there, what is put in its place
MUTATIONS = [
    ("nothing", READING, "from typing import Any\n", "from typing import Any\n"),
    ("sites of the model alone count", READING, 'if p["is_observed"]]', 'if p["is_observed"] or p["name"] not in guide]'),
    ("stray sites of the guide pass", READING, 'not q["infer"].get("is_auxiliary")', "False"),
    ("auxiliary sites are refused", READING, 'not q["infer"].get("is_auxiliary")', "True"),
    ("factors in the guide pass", READING, 'if name not in model and q["is_observed"]:', "if False:"),
    ("observed and latent may be mixed", READING, 'if name in model and q["is_observed"] != ', "if name in model and True != "),
    ("deterministic sites count", READING, 'if not site["infer"].get("_deterministic")', "if True"),
    ("the order of sites does not matter", READING, "set(earlier) <= set(drawn[:i])", "True"),
    ("masks need not agree", READING, "(mask_of(self.q), mask_of(self.p)), ", "(True, True), "),
    ("scales need not agree", READING, ', (self.q["scale"], self.p["scale"])):', ",):"),
    ("masks of distributions are not seen", READING, "    own = mask_of_distribution(site[\"fn\"])\n", "    own = True\n"),
    ("a Delta's divergence serves", READING, "unfit = (Delta, MaskedDistribution)", "unfit = (MaskedDistribution,)"),
    ("a Delta serves doubly reparametrised", READING, "if isinstance(base_of(latent.q), Delta):", "if False:"),
    ("labels need no enumeration", READING, "if not is_enumerated(latent.q) and not latent", "if False and not latent"),
    ("discrete sites of the model alone pass", READING, 'if not site["fn"].has_rsample and', "if False and"),
    ("plates are not subsampled", READING, "scale = scale * frame.full_size / frame.size", "pass"),
    ("enumerated sites do not depend on each other", READING, "waiting |= _extents(log_prob, self.sites) - done", "pass"),
    ("enumerated values are not weighed", READING, "(weight.exp() * term).sum()", "term.sum()"),
    ("any scale may be in a weight", ROWS, "if isinstance(scale, Tensor) or not math.isclose(", "if False and not math.isclose("),
    ("masks in weights need not agree", ROWS, "if q is not p and not bool(", "if False and not bool("),
    ("sites of the model alone share all plates", ROWS, "for site in (*sites, *others)", "for site in sites"),
    ("the scale of rows stays inside", ROWS, 'sum_rows(log_prob(site), self.dims) / self.scale', 'sum_rows(log_prob(site), self.dims)'),
    ("divergences of different shapes", ELBO, "if q.batch_shape != p.batch_shape:", "if False:"),
    ("a part that draws is kept", "tracing/kept_calls.py", "effects.found or statements.found", "effects.found or False"),
    ("kl_weight is not in the gradient", "estimators/iwelbo.py", "self.kl_weight.to(weight) * (1.0 - self.alpha)", "(1.0 - self.alpha)"),
    ("alpha is not in the gradient", "estimators/iwelbo.py", "self.kl_weight.to(weight) * (1.0 - self.alpha)", "self.kl_weight.to(weight)"),
    ("rows with masked sites lose their score term", "estimators/iwelbo.py", "share = share * whole\n", "pass\n"),
    ("vectors get the factor of another row", "estimators/iwelbo.py", "reshape(plates + (1,) * event_dim)", "reshape((1,) * event_dim + plates)"),
    ("strata share no plate with what depends on them", "estimators/stratified.py", "msg[\"done\"] or msg[\"is_observed\"] or not is_stratified(kind)", "True"),
    ("weights as drawn serve the prior", "estimators/mixture_density.py", "log_q + strata.expectation(cross_entropy, q, expected)", "log_q + strata.expectation(cross_entropy, q, drawn)"),
    ("expected weights serve the entropy", "estimators/mixture_density.py", "log_q = strata.expectation(log_prob(q), q, drawn)", "log_q = strata.expectation(log_prob(q), q, expected)"),
    ("a mixture needs no site of its weights", "estimators/mixture_density.py", "if weights is None or not isinstance(site[\"fn\"], DiagNormalMixture):", "weights = weights or next(iter(guide_sites.values()))\n        if False:"),
    ("labels in more plates than the data", "estimators/semi_supervised.py", "if found.shape != y.shape:", "if False:"),
    ("bounds per datum ignore the plate", "tracing/contexts.py", "run.full_sizes.get(batch_size, batch_size)", "batch_size"),
]  # fmt: skip


def notice(file: str, old: str, new: str) -> str:
    """What the random programs say when ``old`` is ``new``; empty if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pyrodgm"
        shutil.copytree(ROOT / "pyrodgm", copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "infer" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{file} must hold {old!r} once, got {text.count(old)} times")
        path.write_text(text.replace(old, new))
        run = subprocess.run(
            [sys.executable, "-c", CHECK],
            cwd=folder,  # which comes first on the path
            env={**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode and not run.stdout.strip():  # it could not even be run, which proves nothing
            raise SystemExit(f"{file} with {new!r} does not run:\n{run.stderr.strip()[-600:]}")
        return run.stdout.strip() if run.returncode else ""


def main() -> int:
    unnoticed = 0
    for name, file, old, new in MUTATIONS:
        said = notice(file, old, new)
        fine = bool(said) != (old == new)
        unnoticed += not fine
        print(f"{'ok' if fine else 'NOT NOTICED'}: {name}: {said or 'all programs pass'}", flush=True)
    return unnoticed


if __name__ == "__main__":
    raise SystemExit(1 if main() else 0)
