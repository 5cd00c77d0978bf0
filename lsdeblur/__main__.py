"""``python -m lsdeblur`` is the command ``lsdeblur``."""

from lsdeblur.cli import main

if __name__ == "__main__":
    main()
