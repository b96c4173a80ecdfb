"""``python -m yt_protohalos.cli``."""

import sys

from . import main

sys.exit(main())
