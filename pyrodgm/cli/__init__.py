"""The command line ``python -m pyrodgm train | evaluate | compare | table | demo | list``, also that of ``pyrodgm``."""

from pyrodgm.extras import needs_extra

with needs_extra("zoo"):
    from pyrodgm.cli.compare import Compare, compare
    from pyrodgm.cli.demo import Demo, demo
    from pyrodgm.cli.evaluate import Evaluate, evaluate
    from pyrodgm.cli.main import main
    from pyrodgm.cli.table import TableFlags, table
    from pyrodgm.cli.train import train

__all__ = ["Compare", "Demo", "Evaluate", "TableFlags", "compare", "demo", "evaluate", "main", "table", "train"]
