"""`python -m components.validate`."""

import sys

from components.validate import main

sys.exit(main())
