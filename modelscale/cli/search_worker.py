"""The command line of a further process of a search, which `modelscale tune` starts itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelscale.cli.console import Console
from modelscale.cli.frame import as_known
from modelscale.cli.options import allow
from modelscale.commands.search_member import MemberRequest, join_search
from modelscale.commands.search_rounds import Member


def main(words: list[str]) -> int:
    """Take part in a search; return the exit code.

    Args:
        words: Run folder, 1 for its random baseline, index, count, device, threads, plugins.
    """
    run, baseline, index, count, device, threads, *plugins = words
    console = Console(as_json=False, quiet=True, verbose=False)
    allow(plugins)
    member = Member(int(index), int(count))
    request = MemberRequest(
        Path(run),
        baseline == "1",
        member,
        device,
        int(threads),
        os.environ.get("MODELSCALE_STORAGE"),
    )
    try:
        join_search(request, console)
    except Exception as error:
        known = as_known(error)
        if known is None:
            raise
        if known.exit_code not in {75, 130}:
            console.error(f"worker {index}: {known}")
        return known.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
