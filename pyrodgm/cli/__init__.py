"""The command line: ``python -m pyrodgm train | evaluate | compare | demo | list``, also installed as ``pyrodgm``."""

from pyrodgm.extras import needs_extra

with needs_extra("zoo"):
    from pyrodgm.cli.compare import Compare, compare
    from pyrodgm.cli.demo import Demo, demo
    from pyrodgm.cli.evaluate import Evaluate, evaluate
    from pyrodgm.cli.main import main
    from pyrodgm.cli.train import train

__all__ = ["Compare", "Demo", "Evaluate", "compare", "demo", "evaluate", "main", "train"]
