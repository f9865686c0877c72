"""The cache folder: fetched data sets and converted tables. Safe to delete at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return MODELSCALE_CACHE, or `modelscale` in the user's cache folder (XDG)."""
    own = os.environ.get("MODELSCALE_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and Path(shared).is_absolute():  # the XDG rules: ignore a relative one
        return Path(shared) / "modelscale"
    try:
        return Path.home() / ".cache" / "modelscale"
    except RuntimeError:  # no HOME and no entry in the user table
        return Path(".modelscale-cache")
