#!/usr/bin/env python3
"""s3prl's run_pretrain.py with GenDistiller added: the same flags, run from any folder. See README.md."""

import sys

from s3prl_gendistiller.cli.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
