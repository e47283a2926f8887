#!/usr/bin/env python3
"""s3prl's run_downstream.py with GenDistiller added: the same flags, run from any folder. See README.md."""

import sys

from s3prl_gendistiller.cli.downstream import main

if __name__ == "__main__":
    sys.exit(main())
