"""The house rules that a reader relies on: imports look down, each framework has its own door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hrm_sweep"

LAYERS = [
    {"errors"},
    {"files", "outcomes", "recipe", "redact", "runtime", "settings"},
    {"learning", "tracking"},
    {"study"},
    {"archive", "launch"},
    {"config", "projector"},
    {"load", "report", "reproduce", "run"},
    {"mistakes", "solo", "guide"},
    {"app", "sweep"},
    {"commands"},
    {"completion"},
    {"cli"},
    {"__main__"},
]
"""Lowest first; a module imports from lower layers and from its own package."""

DOORS = {
    "torch": ("learning/", "load.py", "run.py"),
    "matplotlib": ("learning/", "report/"),
    "pandas": ("archive/table.py",),
    "jinja2": ("report/page.py",),
    "optuna": ("study/",),
    "sqlalchemy": ("study/database.py", "study/ledger.py", "tracking/", "commands/pages.py"),
    "mlflow": ("tracking/mlflow",),
    "pebble": ("launch/pool.py",),
    "rich": ("study/screen.py", "study/fitting.py", "commands/terminal.py"),
    "hydra": (
        "study/space.py",
        "study/grammar.py",
        "study/chosen.py",
        "launch/",
        "sweep.py",
        "cli.py",
        "app.py",
        "config.py",
        "mistakes.py",
    ),
}
"""Framework -> where it may be imported."""

HEAVY = {"torch", "mlflow", "optuna", "matplotlib", "numpy", "pandas", "sqlalchemy"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names imported anywhere in the file, `from a import b` as both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def own(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MOVING = pytest.mark.skip(
    reason="the packages are being moved; the new layers come with the last move"
)


@MOVING
def test_every_module_has_a_layer():
    known = set().union(*LAYERS) | {"__init__"}
    assert {own(path) for path in modules()} == known


@MOVING
@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_look_down(path):
    if own(path) == "__init__":
        return
    for name in imports(path):
        if name.startswith("hrm_sweep.") and name != "hrm_sweep.__version__":
            target = name.split(".")[1]
            allowed = target == own(path) or layer_of(target) < layer_of(own(path))
            assert allowed, f"{path.name} imports {name}, which does not lie below it"


@MOVING
@pytest.mark.parametrize("framework", DOORS)
def test_each_framework_has_its_door(framework):
    inside = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if any(name.split(".")[0] == framework for name in imports(path))
    }
    strangers = {name for name in inside if not name.startswith(DOORS[framework])}
    assert inside, f"nothing imports {framework}: the dependency can go"
    assert not strangers


@MOVING
def test_the_learning_half_knows_nothing_of_the_study_half():
    for path in (PACKAGE / "learning").rglob("*.py"):
        known = {name.split(".")[1] for name in imports(path) if name.startswith("hrm_sweep.")}
        assert known <= {"errors", "files", "learning"}, path


def test_help_and_config_import_nothing_heavy():
    program = (
        "import sys; from hrm_sweep import cli; import hydra_plugins.hrm_sweep_plugins.sweeper,"
        "hydra_plugins.hrm_sweep_plugins.launcher; print(*{m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())
