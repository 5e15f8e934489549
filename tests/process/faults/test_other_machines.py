"""Trials of a study that another machine runs, or ran when it was lost."""

import socket
from pathlib import Path

import optuna
import pytest
from studies import awaiting, begun, study, sweep, until

from hrm_sweep.runs import record


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def give_to(machine: str, *, x: int) -> None:
    """A trial that a sweep on another machine runs."""
    first = study().get_trials()[0]
    theirs = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params={"x": x},
        distributions=first.distributions,
        user_attrs={
            "owner": {"host": machine, "boot": "1234", "lock": "/elsewhere/multirun/study/.lock"},
            "attempt": 1,
        },
    )
    study().add_trial(theirs)


def test_a_trial_that_was_taken_away_is_left_to_who_has_it(start):
    """By another machine, which was told that this one is gone for good, and it was not."""
    running = start("+x=1,3", awaiting("go", [1, 3]), "hydra.launcher.workers=2")
    until(lambda: len(begun()) == 2)
    theirs = study().get_trials()[1]
    owner = {"host": "elsewhere", "boot": "1234", "lock": "/elsewhere/multirun/study/.lock"}
    optuna.Trial(study(), theirs._trial_id).set_user_attr("owner", owner)
    Path("go").touch()
    assert running.ends() == 0, running.printed
    assert "Another sweep still runs 1 of its trials, on elsewhere" in running.printed
    mine, theirs = study().get_trials()
    assert (mine.state.name, theirs.state.name) == ("COMPLETE", "RUNNING")
    assert "outcome" not in theirs.user_attrs


class TestAnotherMachine:
    """A study whose third trial runs on another machine, or did when that was lost."""

    SPACE = "+x=1,3,2,4"

    @pytest.fixture(autouse=True)
    @staticmethod
    def shared():
        assert sweep("+x=1,3").returncode == 0
        give_to("elsewhere", x=2)

    def states(self) -> list[str]:
        return [trial.state.name for trial in study().get_trials()]

    def test_its_trial_is_left_to_it_and_told(self):
        done = sweep(self.SPACE)
        assert done.returncode == 0, done.stderr
        assert "Another sweep still runs 1 of its trials, on elsewhere. If that" in done.stdout
        assert "hydra.sweep.dir=multirun/study hydra.sweeper.take_from=elsewhere\n" in done.stdout
        assert self.states() == ["COMPLETE", "COMPLETE", "RUNNING", "COMPLETE"]

    def test_its_trial_is_taken_over_once_it_is_gone_for_good(self):
        done = sweep(self.SPACE, "hydra.sweeper.take_from=elsewhere")
        assert done.returncode == 0, done.stderr
        assert self.states() == ["COMPLETE"] * 4
        assert study().get_trials()[2].value == 0
        assert "Another sweep" not in done.stdout
        again = sweep(self.SPACE, "hydra.sweeper.take_from=elsewhere")
        assert again.returncode == 2
        assert "; none runs on another machine" in again.stderr

    def test_from_its_checkpoint_where_that_is_here(self):
        with record.Record(Path("multirun/study/2")) as theirs:
            tags = {"hrm_sweep.study": "study", "hrm_sweep.trial": "2"}
            theirs.append("started", kind="trial", name="2", tags=tags)
            for step in range(1, 10):
                theirs.metrics(step, {"objective": 1 / step})
        Path("multirun/study/2/checkpoint").write_text("9")
        done = sweep(self.SPACE, "hydra.sweeper.take_from=elsewhere")
        assert done.returncode == 0, done.stderr
        entries = record.read(Path("multirun/study/2"))
        assert [entry.event for entry in entries].count("started") == 2
        steps = [entry.fields["step"] for entry in entries if entry.event == "metrics"]
        assert steps == [*range(1, 11)]

    @pytest.mark.parametrize(
        ("machine", "words"),
        [
            pytest.param(
                "nowhere",
                "take_from=nowhere: no trial of the study runs there; some run on elsewhere",
                id="one that has none",
            ),
            pytest.param(socket.gethostname(), "this is that machine", id="this one"),
        ],
    )
    def test_a_machine_that_has_none_is_refused(self, machine, words):
        done = sweep(self.SPACE, f"hydra.sweeper.take_from={machine}")
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert len(study().get_trials()) == 3
