"""What the user of another app typed wrong is one line and exit code 2, and nothing is created."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import TESTS
from studies import PATIENCE_SECONDS

APP = TESTS / "apps" / "grouped.py"

pytestmark = pytest.mark.usefixtures("in_a_folder_of_its_own")


def sweep(*overrides: str, launcher: str = "pool") -> subprocess.CompletedProcess[str]:
    flags = ["-m", "hydra/sweeper=hrm_sweep", f"hydra/launcher={launcher}"]
    study = ["hydra.sweeper.study_name=s", "hydra.sweeper.tracking.name=off"]
    return subprocess.run(
        [sys.executable, str(APP), *flags, *study, *overrides],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


NO_KEY = "Interpolation key 'nosuch' not found; --cfg all shows all keys"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(
            ["db=pg,nosuch"], "db=nosuch: no such option; choose from mysql, pg", id="option"
        ),
        pytest.param(["db=null,pg"], "db=null,pg: Config group override must be a ", id="null"),
        pytest.param(
            ["timeouts=1,2"],
            "timeouts=1,2: no key of that name; did you mean timeout?",
            id="key",
        ),
        pytest.param(
            ["timeout=abc,3"],
            "timeout=abc: Value 'abc' of type 'str' could not be converted to Integer",
            id="type",
        ),
        pytest.param(
            ["hydra.sweep.dir=out/${nosuch}", "timeout=1,2"],
            f"hydra.sweep.dir=out/${{nosuch}}: {NO_KEY}",
            id="folder of the study",
        ),
        pytest.param(
            ["hydra.sweep.subdir=${nosuch}", "timeout=1,2"],
            f"hydra.sweep.subdir=${{nosuch}}: {NO_KEY}",
            id="folder of a trial",
        ),
    ],
)
def test_a_mistake_is_one_line(overrides, words):
    done = sweep(*overrides)
    assert done.stderr.startswith(words), done.stderr
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert not list(Path().rglob("*"))


def test_a_config_file_that_is_no_yaml():
    Path("configs/db").mkdir(parents=True)
    Path("configs/db/broken.yaml").write_text("driver: [a\nuser: b\n", encoding="utf-8")
    done = sweep(f"hydra.searchpath=[file://{Path.cwd()}/configs]", "db=pg,broken")
    place = "configs/db/broken.yaml, line 2, column 5: "
    libyaml, pyyaml = "did not find expected ',' or ']'\n", "expected ',' or ']', but got ':'\n"
    assert done.stderr.endswith((place + libyaml, place + pyyaml)), done.stderr
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert sorted(path.name for path in Path().iterdir()) == ["configs"]


def test_folders_may_be_named_by_what_hydra_knows_of_a_job():
    folders = ("hydra.sweep.dir=out/${hydra:job.name}", "hydra.sweep.subdir=n${hydra:job.num}")
    done = sweep(*folders, "timeout=1,2")
    assert done.returncode == 0, done.stderr
    for number in (0, 1):
        names = {path.name for path in Path(f"out/grouped/n{number}").iterdir()}
        assert {"record.jsonl", "run.log"} <= names


def test_what_is_typed_is_an_override_and_is_resolved_by_its_reader_alone():
    done = sweep("+unread=${nosuch}", "timeout=1,2")
    assert done.returncode == 0, done.stdout + done.stderr
    recorded = next(Path("multirun").rglob("0/overrides.yaml")).read_text()
    assert recorded == "- +unread=${nosuch}\n- timeout=1\n"


@pytest.mark.parametrize(
    "launcher", ["pool", "basic", pytest.param("joblib", marks=pytest.mark.slow)]
)
def test_a_traceback_begins_in_the_code_of_the_app(launcher):
    done = sweep("timeout=13", launcher=launcher)
    assert done.returncode == 1
    first, line, *_, last = next(Path("multirun").rglob("0/run.log")).read_text().splitlines()[-9:]
    assert first == "Traceback (most recent call last):"
    assert line.startswith(f'  File "{APP}", line ')
    assert last == "ValueError: unlucky"
    shown = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", "show", "s/0"], capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert f'    Traceback (most recent call last):\n      File "{APP}", line ' in shown.stdout
    assert "hrm_sweep/launch" not in shown.stdout
