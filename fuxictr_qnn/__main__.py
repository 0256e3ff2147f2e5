"""`python -m fuxictr_qnn` is the `fuxictr` command."""

import sys

from fuxictr_qnn.cli import main

sys.exit(main())
