"""The rules of the house: imports look down, the engine does not know the app, one door each."""

import ast
from pathlib import Path

import pytest
from paths import ROOT

PACKAGE = ROOT / "hrm_sweep"

LAYERS = [
    {"errors"},
    {"system"},
    {"formatting"},
    {"compat"},
    {"search"},
    {"runs"},
    {"storage", "tracking", "keys"},
    {"engine", "launch"},
    {"report", "terminal"},
    {"commands", "one_sweep"},
    {"hrm", "lightning", "huggingface"},
    {"cli", "results"},
    {"api"},
    {"__main__"},
]
"""Lowest first; a module imports from lower layers and from its own package."""

MAY_KNOW_THE_APP = {"hrm", "cli", "results", "api", "__main__"}

DOORS = {
    "torch": ("hrm/", "compat/torch.py"),
    "matplotlib": ("hrm/pictures/", "report/", "results.py", "terminal/notebook.py"),
    "pandas": ("runs/table.py", "commands/export.py", "results.py"),
    "jinja2": ("report/html.py",),
    "optuna": ("search/", "storage/", "engine/", "launch/job.py", "compat/"),
    "sqlalchemy": ("storage/", "tracking/", "commands/addresses.py", "compat/"),
    "mlflow": ("tracking/", "compat/mlflow.py"),
    "transformers": ("huggingface.py",),
    "ray": ("launch/ray", "compat/ray.py"),
    "rich": ("terminal/", "commands/console.py"),
    "hydra": (
        "compat/hydra.py",
        "compat/hydra_state.py",
        "commands/error_messages.py",
        "commands/input_errors.py",
        "keys/",
        "search/",
        "launch/",
        "engine/",
        "hrm/",
        "one_sweep.py",
        "cli.py",
        "api.py",
    ),
}
"""Framework -> where it may be imported."""

INTERNAL = ("mlflow.store", "multiprocessing.spawn", "optuna.storages._rdb")
"""Packages of frameworks that are internal though their names, or some of them, are not private."""

HEAVY = {"torch", "mlflow", "optuna", "matplotlib", "numpy", "pandas", "sqlalchemy"}


def modules() -> list[Path]:
    template = PACKAGE / "template"  # a user's own app, not a part of ours
    return sorted(path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(template))


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


def imported_packages(path: Path) -> set[str]:
    """First names below `hrm_sweep` that the file imports."""
    names = {name for name in imports(path) if name.startswith("hrm_sweep.")}
    return {name.split(".")[1] for name in names} - {"__version__"}


def test_every_module_has_a_layer():
    known = set().union(*LAYERS) | {"__init__"}
    assert {own(path) for path in modules()} <= known


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_look_down(path):
    if own(path) == "__init__":
        return
    for target in imported_packages(path):
        allowed = target == own(path) or layer_of(target) < layer_of(own(path))
        assert allowed, f"{path.relative_to(PACKAGE)} imports {target}, which is not below it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_engine_does_not_know_the_app(path):
    if own(path) not in MAY_KNOW_THE_APP | {"__init__"}:
        assert "hrm" not in imported_packages(path)


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


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_compat_imports_private_names(path):
    if own(path) != "compat":
        foreign = {name for name in imports(path) if not name.startswith(("__", "hrm_sweep"))}
        private = {name for name in foreign if any(part[:1] == "_" for part in name.split("."))}
        assert not private
        assert not {name for name in foreign if name.startswith(INTERNAL)}
