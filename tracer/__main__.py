"""`python -m tracer` is `tracer`, for launchers that start a module: torchrun, accelerate launch."""

import sys

from tracer.cli import main

if __name__ == "__main__":
    sys.exit(main())
