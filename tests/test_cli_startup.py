"""Nothing heavy is imported by the commands that people wait for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "matplotlib",
    "rich.markdown",
    "rich.console",
    "sqlalchemy",
}
CODE = """
import sys
from modelscale.cli.app import main
try:
    main()
except SystemExit as leaving:
    code = leaving.code
print(code, *sorted(sys.modules), file=sys.stderr)
"""
ROOT = Path(__file__).parent.parent
CASES = [
    ["--help"],
    ["--version"],
    ["validate", "--help"],
    ["validate", "spec.yaml"],
    ["validate", "bad.yaml"],
    ["schema"],
    ["init", "new.yaml"],
]
if (ROOT / "modelscale" / "cli" / "runs.py").is_file():
    CASES.append(["runs", "ls"])


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_imports(arguments, tmp_path):
    (tmp_path / "spec.yaml").write_text("data: {source: digits}\nmodel: mlp\nmetrics: [f1]\n")
    (tmp_path / "bad.yaml").write_text("data: {source: digts}\nmodel: mlp\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = result.stderr.splitlines()[-1].split()
    assert code == ("78" if "bad.yaml" in arguments else "0")
    assert HEAVY.isdisjoint(modules)
    if arguments == ["--help"]:
        assert {"pydantic", "yaml", "rich"}.isdisjoint(modules)
