"""The app trains, and learns something."""

import numpy as np
from hydra import compose, initialize

import app


def test_more_steps_fit_better(tmp_path, monkeypatch):
    """The task function is called as Hydra calls it, with a composed config."""
    monkeypatch.chdir(tmp_path)
    with initialize(version_base="1.3", config_path="conf"):
        losses = [app.main.__wrapped__(compose("config", [f"steps={n}"])) for n in (1, 50)]
    assert losses[1] < losses[0]


def test_a_checkpoint_is_read_back(tmp_path):
    """What is later than the record's last step is not used."""
    app.save(tmp_path / "checkpoint.npz", 7, np.ones(3))
    kept = app.load(tmp_path / "checkpoint.npz", last_step=7)
    assert kept is not None
    assert kept[0] == 7
    assert np.array_equal(kept[1], np.ones(3))
    assert app.load(tmp_path / "checkpoint.npz", last_step=6) is None
