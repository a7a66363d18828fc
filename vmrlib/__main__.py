"""`python -m vmrlib COMMAND`."""

import sys

from vmrlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
