"""Run `asectl` as `python -m asectl`."""

import sys

from asectl.main import main

sys.exit(main())
