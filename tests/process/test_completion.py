"""What the shell offers after tab."""

import subprocess
import sys

import pytest

from hrm_sweep import cli


@pytest.fixture
def offered(monkeypatch, capsys, in_a_folder_of_its_own):
    """Return what is offered for a line, with words where the shell has a place for them."""

    def offer(line: str, shell: str = "fish") -> dict[str, str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setattr(sys, "argv", ["hrm-sweep", "-sc", f"query={shell}"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        rows = capsys.readouterr().out.splitlines()
        return dict(row.split("\t") if "\t" in row else (row, "") for row in rows)

    return offer


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        pytest.param("hrm-sweep l", "lr=", "learning rate", id="root key"),
        pytest.param("hrm-sweep l", "list", "List the studies", id="command"),
        pytest.param("hrm-sweep best --", "--json", "print JSON", id="option of a command"),
        pytest.param("hrm-sweep trainer.p", "trainer.precision=", "precision of", id="group's key"),
        pytest.param("hrm-sweep mod", "model=", "one of hrm, transformer, trm", id="group"),
        pytest.param("hrm-sweep model=", "model=trm", "Tiny Recursive Model", id="option"),
        pytest.param("hrm-sweep study/pruner=m", "study/pruner=median", "Stops", id="nested group"),
        pytest.param("hrm-sweep -m lr=1,2 epo", "epochs=", "number of times", id="in a study"),
    ],
)
def test_fish_shows_what_it_is(line, text, words, offered):
    assert offered(line)[text].startswith(words)


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ("hrm-sweep trainer.precision=", ["auto", "fp32", "bf16"]),
        ("hrm-sweep model.mlp_t=t", ["true"]),
        ("hrm-sweep study.resume=m", ["must"]),
    ],
)
def test_values_are_offered_where_there_are_few(line, texts, shell, offered):
    key = line.split()[-1].partition("=")[0]
    assert {*offered(line, shell)} == {f"{key}={text}" for text in texts}


@pytest.mark.parametrize("line", ["hrm-sweep l", "hrm-sweep best --", "hrm-sweep model="])
def test_bash_has_no_place_for_words(line, offered):
    assert not any(offered(line, "bash").values())


def test_words_are_one_short_line(offered):
    assert all(len(words) <= 60 for words in offered("hrm-sweep study.").values())


def test_the_script_that_sets_it_up_is_hydra_s():
    line = [sys.executable, "-m", "hrm_sweep", "-sc", "install=bash"]
    assert "complete" in subprocess.run(line, capture_output=True, text=True, check=True).stdout
