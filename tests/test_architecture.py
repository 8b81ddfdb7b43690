"""The shape of the library: imports point down, importing it is light, files are short."""

import ast
import statistics
from functools import cache
from pathlib import Path

import pytest
from fresh_process import run_python

import pyrodgm

PACKAGE = Path(pyrodgm.__file__).parent
ROOT = PACKAGE.parent

# From the lowest floor to the highest; a room may import rooms of its own floor, if these do not import it.
FLOORS = (
    ("damaged_file", "errors", "extras"),
    ("arithmetic", "boltzmann", "datasets", "distributions", "plots", "processes"),
    ("nn",),
    ("likelihoods", "posteriors", "priors"),
    ("models",),
    ("infer.estimators", "infer.tracing"),
    ("infer", "infer.evaluation", "infer.training"),
    ("experiment", "figures", "testing"),
    ("zoo",),
    ("__main__", "cli"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = {
    "arviz_base",
    "arviz_stats",
    "matplotlib",
    "pooch",
    "safetensors",
    "scipy",
    "sklearn",
    "tyro",
    "xarray",
    "zuko",
}


def room_of(module):
    """The room of a module, named without the package: the longest name of a room that it begins with."""
    names = [name for name in FLOOR if module == name or module.startswith(f"{name}.")]
    assert names, f"{module} belongs to no floor: name its room in FLOORS and CONTRIBUTING.md"
    return max(names, key=len)


@cache
def nodes(file):
    """All nodes of a file's syntax, read once for all tests."""
    return list(ast.walk(ast.parse(file.read_text())))


def imported(file):
    """Modules of the library that a file imports anywhere, functions and type checking included."""
    for node in nodes(file):
        if isinstance(node, ast.ImportFrom) and node.module == "pyrodgm":
            yield from (alias.name for alias in node.names if alias.name in FLOOR)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyrodgm."):
            yield node.module.removeprefix("pyrodgm.")
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("pyrodgm.") for a in node.names if a.name.startswith("pyrodgm."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"


def edges():
    """Pairs of a file and of a room that it imports, other than its own."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if module:
            own = room_of(module)
            yield from ((file, own, room) for room in map(room_of, imported(file)) if room != own)


def test_errors_have_one_base():
    classes = [node for file in PACKAGE.rglob("*.py") for node in nodes(file) if isinstance(node, ast.ClassDef)]
    errors = {c.name: [ast.unparse(base) for base in c.bases] for c in classes if c.name.endswith("Error")}
    assert errors.pop("PyrodgmError") == ["Exception"]
    assert not {name: bases for name, bases in errors.items() if bases[0] != "PyrodgmError"}


def test_imports_point_down():
    climbing = [f"{f.relative_to(ROOT)} imports {room}" for f, own, room in edges() if FLOOR[room] > FLOOR[own]]
    assert not climbing


def test_rooms_of_one_floor_do_not_import_each_other():
    pairs = {(own, room) for _, own, room in edges() if FLOOR[room] == FLOOR[own]}
    assert not {(a, b) for a, b in pairs if (b, a) in pairs and "infer" not in (a, b)}  # the public face apart


def test_networks_know_no_probability():
    assert not [f"{file} imports {room}" for file, own, room in edges() if own == "nn" and room == "distributions"]


def test_nothing_outside_imports_the_tests_or_examples():
    for file in PACKAGE.rglob("*.py"):
        roots = {
            name.split(".")[0]
            for node in nodes(file)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            + ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        }
        assert not roots & {"benchmarks", "examples", "tests"}


COUNT = """
import sys
import torch, pyro
before = len(sys.modules)
import pyrodgm
print(before, len(sys.modules))
"""


@pytest.mark.slow
def test_import_is_as_light_as_that_of_pyro():
    before, after = map(int, run_python("-c", COUNT).stdout.split())
    assert after <= 1.05 * before


@pytest.mark.slow
def test_libraries_for_few_are_imported_where_they_are_used():
    rooms = [room for floor in FLOORS[:-1] for room in floor if (PACKAGE / room.replace(".", "/")).is_dir()]
    code = f"import sys\nfor room in {rooms}: __import__('pyrodgm.' + room)\nprint(*sys.modules)"
    loaded = {name.split(".")[0] for name in run_python("-c", code).stdout.split()}
    assert not loaded & HEAVY


@pytest.mark.parametrize("folder", ["pyrodgm", "examples", "benchmarks"])
def test_files_are_short(folder):
    lines = {file: len(file.read_text().splitlines()) for file in (ROOT / folder).rglob("*.py")}
    assert not {str(file): count for file, count in lines.items() if count > 300}
    if folder == "pyrodgm":
        assert statistics.median(lines.values()) < 100


def test_every_room_is_reached_from_the_package():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {*dir(pyrodgm)}
