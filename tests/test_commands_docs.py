"""The pages about commands: their examples run when pasted, and none is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelscale.cli.app import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "commands").glob("*.md"))
MODELSCALE = """#!/bin/sh
exec {python} -c 'from modelscale.cli.app import main; main()' "$@"
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page(name):
    page = (ROOT / "docs" / "commands" / f"{name}.md").read_text()
    assert page.startswith((f"# {name}\n", f"# modelscale {name}\n"))
    assert f"modelscale {name}" in page


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run_when_pasted(page, tmp_path):
    program = tmp_path / "bin" / "modelscale"
    program.parent.mkdir()
    program.write_text(MODELSCALE.format(python=sys.executable))
    program.chmod(0o755)
    (tmp_path / "here").mkdir()
    env = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    if not blocks:
        pytest.skip("no example to paste")
    for block in blocks:
        line = ["bash", "-euc", block]
        done = subprocess.run(
            line, cwd=tmp_path / "here", env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr + done.stdout
