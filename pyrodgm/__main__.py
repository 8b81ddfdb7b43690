"""``python -m pyrodgm``."""

from pyrodgm.cli import main

if __name__ == "__main__":
    main()
