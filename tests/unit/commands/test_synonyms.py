"""Words that people try first."""

import pytest

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.synonyms import understood, versions


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("lr=1e-3", "lr=1e-3", id="an override"),
        pytest.param("best x", "best x", id="a command"),
        pytest.param("rm x --yes", "delete x --yes", id="rm"),
        pytest.param("ls", "list", id="ls"),
        pytest.param("status", "list", id="status"),
        pytest.param("train lr=1e-3", "lr=1e-3", id="train"),
        pytest.param("sweep lr=1,2", "-m lr=1,2", id="sweep"),
        pytest.param("help", "--help", id="help"),
        pytest.param("help best", "best --help", id="help on a command"),
        pytest.param("version", "--version", id="version"),
        pytest.param("-m train", "-m train", id="not the first word"),
    ],
)
def test_a_first_word_is_understood(typed, meant):
    assert understood(typed.split(), COMMANDS) == meant.split()


def test_versions_are_ours_and_those_that_results_depend_on():
    words = versions()
    assert words.startswith("hrm_sweep ")
    assert [part.split()[0] for part in words.split(" · ")[1:]] == [
        "Hydra",
        "Optuna",
        "MLflow",
        "PyTorch",
    ]
