"""What is printed to be pasted is read back by a shell as it was meant."""

import subprocess

import pytest

from hrm_sweep.system import shell

WORDS = [
    pytest.param("lr=1e-3", "lr=1e-3", id="plain"),
    pytest.param("a b", "'a b'", id="a space"),
    pytest.param("study.name='two words'", "\"study.name='two words'\"", id="Hydra's quotes"),
    pytest.param('name="ü"', "'name=\"ü\"'", id="double quotes"),
    pytest.param("it's $HOME", "'it'\"'\"'s $HOME'", id="a quote and a variable"),
    pytest.param("it's 5!", "'it'\"'\"'s 5!'", id="a quote and the history of a shell"),
    pytest.param("'a\\b'", "''\"'\"'a\\b'\"'\"''", id="a quote and a backslash"),
    pytest.param("", "''", id="nothing"),
]


@pytest.mark.parametrize(("word", "typed"), WORDS)
def test_a_word_is_quoted_readably(word, typed):
    assert shell.quote(word) == typed


def test_a_shell_reads_the_words_back():
    words = [param.values[0] for param in WORDS]
    script = f"printf '%s\\n' {shell.join(words)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == words
