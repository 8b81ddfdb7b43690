import os

import pytest
import torch

from pyrodgm.infer.tracing.graph import flatten


def run_compiled(folder, weight, connection):
    """Compile a program that holds weights, its cache in ``folder``; send what it returns and what it should."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    x, weights = torch.linspace(-1.0, 1.0, 24).reshape(4, 6), torch.full((6, 5), weight)

    def program(x):
        return x @ weights @ weights.T  # products alone, which need no C++ compiler

    connection.send([y.tolist() for y in (flatten(program, (x,), compiled=True)(x), program(x))])


@pytest.mark.slow
def test_later_processes_find_what_was_compiled_whatever_the_weights(tmp_path, forkserver):
    kept = []
    for weight in (2.0, 3.0):
        here, there = forkserver.Pipe()
        process = forkserver.Process(target=run_compiled, args=(tmp_path, weight, there))
        process.start()
        found, expected = here.recv()
        process.join()
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))
        kept.append({path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()})
    assert {"fxgraph", "aotautograd"} <= {path.parts[0] for path in kept[0]}
    assert kept[1] == kept[0]
