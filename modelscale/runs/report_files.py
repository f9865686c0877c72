"""A report's files, which may be written into a run at any time, also a finished one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modelscale.runs import atomic
from modelscale.runs.lock import RunLock

REPORT = "report.html"
PLOTS = "plots"
_WAIT_S = 5.0  # another report of the same run takes no longer to write


def write_report(folder: Path, html: bytes, plots: Mapping[str, bytes]) -> list[Path]:
    """Write `report.html` and `plots/*.svg` into a run's folder; return the plots' paths.

    The run itself is not touched, and its lock not asked for: a run may be reported while it
    trains. Two reports of one run wait for each other. Plots of an earlier report that the
    new one does not have are deleted; the page, which holds its plots itself, comes last.

    Args:
        folder: The run's folder.
        html: The page.
        plots: Contents by plain file name, each ending in `.svg`.

    Raises:
        TryAgain: If another process writes a report of the run.
        CannotCreate: If the folder cannot be written to.
        StorageError: If the disk is full or broken; an older page is still there.
    """
    assert all("/" not in name and name[:1] not in {"", "."} for name in plots)
    assert all(name.endswith(".svg") for name in plots)
    place = folder / PLOTS
    atomic.make_folder(place)
    with RunLock(place, wait_s=_WAIT_S):
        atomic.remove_leftovers(place)
        for name, data in plots.items():
            atomic.write_file(place / name, data)
        with atomic.storage_errors(place):
            for old in sorted(place.glob("*.svg")):
                if old.name not in plots:
                    old.unlink()
        atomic.write_file(folder / REPORT, html)
    return [place / name for name in plots]
