"""A record from another user starts nothing that the user has not seen."""

import pytest

from hrm_sweep.commands.trust import check_overrides
from hrm_sweep.errors import StudyError
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs.app import register


@pytest.fixture(autouse=True)
def _this_process_runs_the_app():
    register(APP)


@pytest.mark.parametrize(
    "override",
    [
        pytest.param("--config-dir=/evil", id="flag"),
        pytest.param("+hydra.callbacks.x._target_=os.abort", id="callback"),
        pytest.param("+hydra/callbacks=evil", id="group of callbacks"),
        pytest.param("hydra.searchpath=[file:///evil]", id="configs from elsewhere"),
        pytest.param("hydra.launcher.preload=[evil]", id="module"),
        pytest.param("hydra.launcher.setup=[evil]", id="a line of a job's shell"),
        pytest.param("hydra.launcher.runtime_env.pip=[evil]", id="packages of nodes"),
        pytest.param(
            "hydra.launcher.address=evil:6379", id="cluster, whose messages are unpickled"
        ),
        pytest.param("hydra.launcher.setup=[evil]", id="lines of a job's shell"),
        pytest.param("hydra.launcher.comment='a\nevil'", id="a line in a job's script"),
        pytest.param("hydra.job.env_set.LD_PRELOAD=/evil.so", id="environment"),
        pytest.param("hydra.sweeper.check=os.abort", id="check of configs"),
        pytest.param("hydra.sweeper.on_trial_end=os.abort", id="function at the end of a trial"),
        pytest.param("++hydra.sweeper.on_end=[reboot]", id="command at the end of a study"),
        pytest.param("study.on_end='rm -rf /'", id="the same key in the shipped app"),
        pytest.param("hydra.sweeper={on_end:os.abort}", id="a mapping above the key"),
        pytest.param("+study= {on_end: os.abort}", id="one with a blank before it"),
        pytest.param("study.sampler={_target_:os.abort}", id="target in a dict"),
    ],
)
def test_an_override_that_can_run_a_program_is_refused(override):
    with pytest.raises(
        StudyError, match=r"(?s)^otter: its record has .*; if you trust it, run: cmd$"
    ):
        check_overrides("otter", ["lr=1e-3", override], app="hrm_sweep", command="cmd")


def test_overrides_of_a_study_are_none_of_these():
    known = ["hydra/sweeper=hrm_sweep", "hydra.sweeper.n_trials=3", "hydra.launcher.workers=2"]
    check_overrides(
        "otter",
        ["lr=-1", "~study", "study/sampler=tpe", "+model={on_end:a}", *known],
        app="hrm_sweep",
        command="cmd",
    )
