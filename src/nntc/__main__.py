"""``python -m nntc`` is the command ``nntc``."""

from __future__ import annotations

import sys

from nntc.cli import main

if __name__ == "__main__":
    sys.exit(main())
