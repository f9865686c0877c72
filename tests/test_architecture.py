"""The shape of the package: which way imports run, how long files are, what stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "modelscale"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the top down. A file imports from its own folder and from lower floors, never from
# another folder of its own floor.
FLOORS = [
    {"cli", "__main__"},
    {"commands"},
    {"tuning", "pruning", "ensembling", "scaling", "export", "report"},
    {"training"},
    {"models", "optimizers", "losses", "data", "evaluation"},
    {"runs", "components"},
    {"spec"},
    {"errors", "seeds", "tensors"},
]
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
HEAVY = {"torch", "numpy", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "jinja2"}
UNSAFE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

every_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix()
)


def imported(tree):
    """Yield every module that a file imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            base = node.module or ""
            yield from (
                f"{base}.{name.name}" if base == "modelscale" else base for name in node.names
            )


def part_of(path):
    """Return the top-level part that a file belongs to: `models`, `errors`, …"""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@every_file
def test_imports_run_downward(path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in FLOOR_OF, f"{part} stands on no floor: add it to FLOORS"
    for module in imported(ast.parse(path.read_text())):
        if not module.startswith("modelscale.") or module == "modelscale.__version__":
            continue
        other = module.split(".")[1]
        assert other == part or FLOOR_OF[other] > FLOOR_OF[part], f"imports {module}"


@every_file
def test_file_fits_on_a_few_screens(path):
    assert len(path.read_text().splitlines()) <= 400


@every_file
def test_nothing_can_unpickle(path):
    tree = ast.parse(path.read_text())
    assert not {module.split(".")[0] for module in imported(tree)} & UNSAFE
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if (node.value.id, node.attr) in {("torch", "load"), ("torch", "save")}
    ]
    if path.name != "published_weights.py":
        assert calls == []
        return
    # Files whose bytes are pinned by their sha256, and of which torch reads tensors alone.
    careful = [
        call.func
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and any(
            k.arg == "weights_only"
            and isinstance(k.value, ast.Constant)
            and k.value.value is True
            for k in call.keywords
        )
    ]
    (call,) = calls  # one place, where a reader looks at it
    assert any(call is func for func in careful)


@pytest.mark.parametrize(
    "path", [f for f in FILES if f.name == "__init__.py"], ids=lambda p: p.parent.name
)
def test_init_holds_a_docstring_only(path):
    docstring, *rest = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    if path.parent == PACKAGE:  # and the version, which packaging reads
        (version,) = rest
        assert isinstance(version, ast.Assign)
        return
    assert rest == []


@pytest.mark.parametrize(
    "path", [PACKAGE, *sorted(p for p in PACKAGE.rglob("*") if p.is_dir())]
)
def test_names_say_what_is_inside(path):
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not vague & {p.stem for p in path.iterdir()}


def modules_imported_by(code):
    """Return what a fresh interpreter has loaded after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code + "\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return set(done.stdout.split())


def test_every_kind_and_the_whole_spec_load_without_anything_heavy():
    code = """
import pkgutil
from importlib import import_module
from inspect import getmembers, isclass
import modelscale
from modelscale.commands.experiment import Experiment
from modelscale.components import Component
for module in pkgutil.walk_packages(modelscale.__path__, "modelscale."):
    if module.name.endswith(".base"):
        for _, family in getmembers(import_module(module.name), isclass):
            if issubclass(family, Component) and family.__module__ == module.name:
                for kind in family.kinds():
                    family.of_kind(kind)
Experiment.model_json_schema()
"""
    assert not modules_imported_by(code) & HEAVY


@pytest.mark.skipif(not (PACKAGE / "cli" / "app.py").exists(), reason="no command line yet")
def test_command_line_loads_without_anything_heavy():
    assert not modules_imported_by("import modelscale.cli.app") & HEAVY


def test_no_part_stands_on_two_floors():
    assert sum(map(len, FLOORS)) == len(FLOOR_OF)
