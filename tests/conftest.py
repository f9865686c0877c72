"""What all tests share: one thread, and property tests that repeat."""

import os

# Before torch is imported: tests run side by side, and waiting threads cost more than they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("modelscale", deadline=None, derandomize=True)
settings.load_profile("modelscale")
