"""Which folders are runs of a study, found by their records."""

import pytest

from hrm_sweep.runs import export_state, layout

MARKS = {"study": layout.SWEEP_CONFIG, "run": layout.RECORD}


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        pytest.param(
            {".": "study", "10": "run", "9": "run", "0": "run"}, ["0", "9", "10"], id="numbers"
        ),
        pytest.param(
            {".": "study", "lr=1,n=2": "run", "lr=1": "run"}, ["lr=1", "lr=1,n=2"], id="words"
        ),
        pytest.param({".": "study", "lr=1/n=2": "run"}, ["lr=1/n=2"], id="folders within folders"),
        pytest.param({".": "study", "0": "run", "0/1": "run"}, ["0"], id="repeats are the trial's"),
        pytest.param(
            {".": "study", "old": "study", "old/0": "run"}, [], id="another study is another's"
        ),
        pytest.param({".": "study", ".kept/0": "run", "0": "no"}, [], id="hidden, and no run"),
        pytest.param({".": "run", "1": "run", "0": "run"}, ["0", "1"], id="repeats"),
        pytest.param({".": "run", "samples/0": "run"}, [], id="what a task puts beside its record"),
        pytest.param({}, [], id="no folder yet"),
    ],
)
def test_runs_below_a_folder(tmp_path, folders, names):
    root = tmp_path / "root"
    for name, kind in folders.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / MARKS.get(kind, "other")).touch()
    assert export_state.runs_below(root) == names
    assert export_state.runs_below(root, known=set(names)) == []


def test_a_folder_that_leads_back_to_its_parent_is_not_walked(tmp_path):
    (tmp_path / layout.SWEEP_CONFIG).touch()
    (tmp_path / "again").symlink_to(tmp_path)
    assert export_state.runs_below(tmp_path / "again") == []
