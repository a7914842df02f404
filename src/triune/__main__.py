"""``python -m triune``, and ``torchrun -m triune``: the same as the command ``triune``."""

import sys

from triune.cli import main

sys.exit(main())
