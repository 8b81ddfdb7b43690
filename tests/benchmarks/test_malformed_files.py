"""The malformed files of benchmarks/malformed_files.py, fewer of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))  # for its neighbours
    try:
        spec = importlib.util.spec_from_file_location("malformed_files", FOLDER / "malformed_files.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["malformed_files"] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


READERS = ["idx", "amat", "CIFAR batch", "SVHN", "silhouettes", "Burda's OMNIGLOT"]
READERS += ["CIFAR archive", "rotated MNIST", "table of cells", "drawings", "pickle"]


@pytest.mark.parametrize("name", READERS)
def test_malformed_files_are_refused_in_the_words_of_the_reader(benchmark, name):
    found = benchmark.try_reader(name, 40)
    assert found.faults == ()
    assert found.refused > 10


def test_a_fault_is_seen(benchmark):
    found = benchmark.Found()
    for raised in (KeyError("x"), ValueError("foreign words"), RecursionError()):

        def read(content, raised=raised):
            raise raised

        benchmark.attempt(read, b"", found)
    assert len(found.faults) == 3
    assert list(benchmark.whole_files()) == READERS
