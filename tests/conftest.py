"""What all tests share: one thread, and property tests that repeat."""

import os

# Before torch is imported: tests run side by side, and waiting threads cost more than they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

settings.register_profile("modelscale", deadline=None, derandomize=True)
settings.load_profile("modelscale")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """Return a folder with data files, specs and a finished run of each; not to be changed."""
    from command_line import make_workshop

    return make_workshop(tmp_path_factory.mktemp("workshop"))
