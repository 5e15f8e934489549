"""Searches by the samplers that need more than Optuna, to their end."""

import pytest
from studies import study, sweep


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["CmaEsSampler", "GPSampler", "NSGAIISampler", "QMCSampler"])
def test_each_sampler_continues_to_its_end(name):
    sampler = f"hydra.sweeper.sampler._target_=optuna.samplers.{name}"
    done = sweep("+x=interval(0, 4)", "+z=interval(0, 1)", sampler, "hydra.sweeper.n_trials=12")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Search of 12 trials, proposed by {name}" in done.stdout
    trials = study().get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 12
    assert len({trial.params["x"] for trial in trials}) == 12
