"""`python -m asectl` is `asectl`."""

import sys

from asectl.main import main

sys.exit(main())
