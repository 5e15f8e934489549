"""Words that people try first."""

import pytest

from hrm_sweep.commands import COMMANDS
from hrm_sweep.commands.synonyms import MEANT, understood, versions
from hrm_sweep.errors import InputError


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
        pytest.param("tune lr=1,2", "-m lr=1,2", id="tune"),
        pytest.param("logs grid/1", "show grid/1", id="logs"),
        pytest.param("plot grid", "report grid", id="plot"),
        pytest.param("diff a b", "compare a b", id="diff"),
        pytest.param("open grid", "ui grid", id="open"),
        pytest.param("start lr=1", "lr=1", id="start"),
        pytest.param("help lr", "--help lr", id="help on a key"),
        pytest.param("new x", "init x", id="new"),
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


@pytest.mark.parametrize("word", ["stop", "cancel", "kill"])
def test_what_no_command_does_is_answered(word):
    with pytest.raises(InputError, match=f"^{word}: no command of that name; Ctrl-C where a study"):
        understood([word, "grid"], COMMANDS)


def test_an_override_with_spaces_stays_whole():
    assert understood(["lr=interval(1e-4, 1e-3)"], COMMANDS) == ["lr=interval(1e-4, 1e-3)"]


def test_a_synonym_means_a_command():
    assert {*MEANT.values()} - {"", "-m", "--version", "--help"} <= set(COMMANDS)
