"""Folders in the published format: written here by hand, read by `data=puzzles`."""

import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT

from hrm_sweep.errors import ConfigError, DataError
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.configs import PuzzlesConfig
from hrm_sweep.hrm.data.published import read_header
from hrm_sweep.hrm.data.tokens import IGNORE

YAML = ROOT / "conf" / "data" / "puzzles.yaml"
# 9 examples of 6 puzzles in 3 groups
PUZZLE_STARTS, GROUP_STARTS = [0, 2, 3, 5, 6, 7, 9], [0, 2, 3, 6]
IDENTIFIERS = [1, 2, 3, 3, 4, 5]


def config(folder, **changes):
    tree = OmegaConf.merge(
        {"batch_size": 8, "data": OmegaConf.structured(PuzzlesConfig)},
        {"data": OmegaConf.load(YAML)},
        {
            "data": {
                "path": [*map(str, folder)] if isinstance(folder, list) else str(folder),
                **changes,
            }
        },
    )
    OmegaConf.resolve(tree)
    return OmegaConf.to_object(tree.data)


def task_of(folder, *, seed=0, **changes):
    return build_task(config(folder, **changes), seed=seed)


def write_set(folder, name, *, shift=0):
    """Nine examples of four tokens: input i is full of 2 + i, label i of 3 + i with a PAD."""
    numbers = np.arange(9, dtype=np.uint8)[:, None] + shift
    inputs = np.repeat(2 + numbers, 4, axis=1)
    labels = np.repeat(3 + numbers, 4, axis=1)
    labels[:, 3] = 0
    arrays = {
        "inputs": inputs,
        "labels": labels,
        "puzzle_identifiers": np.array(IDENTIFIERS, dtype=np.int32),
        "puzzle_indices": np.array(PUZZLE_STARTS, dtype=np.int32),
        "group_indices": np.array(GROUP_STARTS, dtype=np.int32),
    }
    for kind, array in arrays.items():
        np.save(folder / f"{name}__{kind}.npy", array)


def write_split(folder, sets=("all",), **changes):
    folder.mkdir(parents=True)
    for number, name in enumerate(sets):
        write_set(folder, name, shift=10 * number)
    header = {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 32,
        "seq_len": 4,
        "num_puzzle_identifiers": 6,
        "total_groups": 3 * len(sets),
        "mean_puzzle_examples": 1.5,
        "sets": list(sets),
    }
    (folder / "dataset.json").write_text(json.dumps(header | changes))


@pytest.fixture
def folder(tmp_path):
    write_split(tmp_path / "arc" / "train")
    write_split(tmp_path / "arc" / "test")
    return tmp_path / "arc"


def test_a_folder_of_the_published_builders_is_a_task(folder):
    task = task_of(folder)
    assert (task.name, task.patterns, task.vocab_size, task.shape) == ("arc", ("all",), 32, (2, 2))
    assert (task.num_identifiers, task.seq_len) == (6, 4)
    assert (len(task.train), len(task.eval)) == (9, 9)
    batch = task.draw(torch.tensor([8, 0]), 1)
    assert batch.inputs.tolist() == [[10] * 4, [2] * 4]
    assert batch.labels.tolist() == [[11, 11, 11, IGNORE], [3, 3, 3, IGNORE]]
    # each example has the identifier of its puzzle
    assert task.train.identifiers.tolist() == [1, 1, 2, 3, 3, 3, 4, 5, 5]
    assert config(folder).metric_names() == ["eval/exact_match/all", "eval/token_accuracy/all"]


def test_an_epoch_shows_every_example_once(folder):
    task = task_of(folder)
    orders = [task.order(epoch).tolist() for epoch in range(1, 9)]
    assert all(sorted(order) == list(range(9)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_an_epoch_may_show_one_puzzle_of_each_group(folder):
    task = task_of(folder, sampling="one_per_group")
    puzzles = [range(a, b) for a, b in pairwise(PUZZLE_STARTS)]
    chosen = []
    for epoch in range(1, 400):
        order = task.order(epoch).tolist()
        shown = []
        while order:  # whole puzzles, their examples side by side
            puzzle = next(p for p, members in enumerate(puzzles) if order[0] in members)
            count = len(puzzles[puzzle])
            assert sorted(order[:count]) == list(puzzles[puzzle])
            shown.append(puzzle)
            order = order[count:]
        assert sorted(np.searchsorted(GROUP_STARTS, shown, side="right").tolist()) == [1, 2, 3]
        chosen += shown
    share = np.bincount(chosen) / 399
    assert share == pytest.approx([1 / 2, 1 / 2, 1, 1 / 3, 1 / 3, 1 / 3], abs=0.125)
    assert task.order(7).tolist() == task_of(folder, sampling="one_per_group").order(7).tolist()
    assert len({tuple(task.order(epoch).tolist()) for epoch in range(1, 30)}) > 10


def test_several_sets_come_one_after_the_other(tmp_path):
    write_split(tmp_path / "train", sets=("easy", "hard"))
    write_split(tmp_path / "test", sets=("hard",))
    task = task_of(tmp_path)
    assert task.patterns == ("hard", "easy")
    assert task.train.patterns.tolist() == [1] * 9 + [0] * 9
    assert task.train.inputs[:, 0].tolist() == [*range(2, 11), *range(12, 21)]
    assert len(task_of(tmp_path, sampling="one_per_group").order(1)) >= 6
    assert config(tmp_path).metric_names() == ["eval/exact_match/hard", "eval/token_accuracy/hard"]


def test_several_folders_are_trained_on_together_with_identifiers_apart(tmp_path):
    for name, sets in (("one", ("easy",)), ("two", ("easy", "hard"))):
        for split in ("train", "test"):
            write_split(tmp_path / name / split, sets=sets)
    folders = [tmp_path / "one", tmp_path / "two"]
    task, alone = task_of(folders), task_of(tmp_path / "one")
    assert (task.name, task.patterns, task.num_identifiers) == ("one+two", ("easy", "hard"), 12)
    assert (len(task.train), len(task.eval)) == (27, 27)
    assert torch.equal(task.train.identifiers[:9], alone.train.identifiers)
    assert torch.equal(task.train.identifiers[9:18], alone.train.identifiers + 6)
    assert torch.equal(task.eval.identifiers, task.train.identifiers)
    assert task.train.patterns.tolist() == [0] * 18 + [1] * 9
    assert config(folders).puzzles_per_epoch() == round(9 * 1.5)
    assert config(folders).metric_names()[:2] == ["eval/exact_match/easy", "eval/exact_match/hard"]
    grouped = task_of(folders, sampling="one_per_group")
    starts = np.searchsorted([9, 18], grouped.order(3).numpy(), side="right")
    assert {*starts.tolist()} == {0, 1, 2}  # groups of each set of each folder


@pytest.mark.parametrize(
    ("key", "value"),
    [("vocab_size", 33), ("pad_id", 1), ("ignore_label_id", 1), ("blank_identifier_id", 1)],
)
def test_folders_that_do_not_fit_together_are_refused(tmp_path, key, value):
    for name in ("one", "two"):
        for split in ("train", "test"):
            write_split(tmp_path / name / split)
    for split in ("train", "test"):
        header(split, **{key: value})(tmp_path / "two")
    with pytest.raises(DataError) as caught:
        task_of([tmp_path / "one", tmp_path / "two"])
    first = read_header(tmp_path / "one" / "train")
    assert str(caught.value) == (
        f"{tmp_path}/two/train/dataset.json: {key}={value}, but {tmp_path}/one/train has "
        f"{key}={getattr(first, key)}; build folders that are trained together alike, "
        "or leave one out of data.path"
    )


def test_every_label_counts_where_none_is_ignored(tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path / split, ignore_label_id=None)
    assert task_of(tmp_path).eval.take(torch.tensor([0])).labels.tolist() == [[3, 3, 3, 0]]


def test_a_row_that_is_no_square_is_a_picture_of_one_line(tmp_path):
    for split in ("train", "test"):
        write_split(tmp_path / split, seq_len=3)
        for kind in ("inputs", "labels"):
            path = tmp_path / split / f"all__{kind}.npy"
            np.save(path, np.load(path)[:, :3])
    task = task_of(tmp_path)
    assert task.picture(task.train.inputs[1]).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param("u1", id="uint8"),
        pytest.param("<u2", id="uint16"),
        pytest.param(">i4", id="big-endian int32"),
        pytest.param("<i8", id="int64"),
    ],
)
def test_any_whole_numbers_will_do(folder, dtype):
    expected = task_of(folder).train.all()
    for kind in ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"):
        path = folder / "train" / f"all__{kind}.npy"
        np.save(path, np.load(path).astype(dtype))
    batch = task_of(folder).train.all()
    assert torch.equal(batch.inputs, expected.inputs)
    assert torch.equal(batch.labels, expected.labels)
    assert torch.equal(batch.identifiers, expected.identifiers)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tokens_are_mapped_and_the_file_stays_as_it_is(folder):
    path = folder / "train" / "all__inputs.npy"
    before = path.read_bytes()
    task = task_of(folder)
    assert str(path) in Path("/proc/self/maps").read_text()
    task.train.inputs.fill_(7)
    assert path.read_bytes() == before


def test_the_held_out_examples_may_be_fewer(folder):
    some = task_of(folder, num_eval_puzzles=4).eval
    assert len(some) == 4
    assert len(set(some.inputs[:, 0].tolist())) == 4
    assert torch.equal(some.inputs, task_of(folder, num_eval_puzzles=4, seed=1).eval.inputs)
    assert len(task_of(folder, num_eval_puzzles=1000).eval) == 9


def test_held_out_examples_without_a_scored_label_are_passed_over(folder):
    for labelled in range(9):
        labels = np.zeros((9, 4), dtype=np.uint8)
        labels[labelled] = 3
        np.save(folder / "test" / "all__labels.npy", labels)
        task = task_of(folder, num_eval_puzzles=1)
        assert task.eval.all().labels.tolist() == [[3] * 4]
        assert task.eval.inputs.tolist() == [[2 + labelled] * 4]


def change(split, kind, edit):
    """An edit of one file of the folder."""

    def apply(folder):
        path = folder / split / f"all__{kind}.npy"
        np.save(path, edit(np.load(path)))

    return apply


def with_value(place, value, dtype=np.int32):
    def edit(array):
        array = array.astype(dtype)
        array[place] = value
        return array

    return edit


def header(split, **changes):
    def apply(folder):
        path = folder / split / "dataset.json"
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in content.items() if v != "gone"}))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            shutil.rmtree,
            "train/dataset.json: no such file; data.path must name a folder with train/ and test/",
            id="no folder",
        ),
        pytest.param(
            lambda folder: shutil.rmtree(folder / "test"),
            "test/dataset.json: no such file",
            id="no test split",
        ),
        pytest.param(
            lambda folder: (folder / "train" / "dataset.json").write_text("{"),
            "train/dataset.json: cannot be read as JSON",
            id="torn header",
        ),
        pytest.param(
            lambda folder: (folder / "train" / "dataset.json").write_bytes(b"\xff\xfe"),
            "train/dataset.json: cannot be read as JSON",
            id="header of bytes",
        ),
        pytest.param(
            lambda folder: (folder / "train" / "dataset.json").write_text("[]"),
            "train/dataset.json: must be a JSON object, not list",
            id="header is a list",
        ),
        pytest.param(
            header("train", vocab_size="gone"),
            "train/dataset.json: the key vocab_size is missing",
            id="key missing",
        ),
        pytest.param(
            header("train", seq_len="4"),
            "train/dataset.json: seq_len=4 must be a whole number of at least 1",
            id="key of text",
        ),
        pytest.param(
            header("train", total_groups=True), "total_groups=True must be", id="key of truth"
        ),
        pytest.param(
            header("train", pad_id=32), "pad_id=32 must be below vocab_size=32", id="pad outside"
        ),
        pytest.param(
            header("train", ignore_label_id="none"), "ignore_label_id=none must be", id="ignored"
        ),
        pytest.param(
            header("train", mean_puzzle_examples="gone"), "mean_puzzle_examples=None", id="no mean"
        ),
        pytest.param(header("train", sets=[]), "sets=[] must be a list", id="no sets"),
        pytest.param(header("train", sets="all"), "sets=all must be a list", id="sets of text"),
        pytest.param(
            header("train", sets=["../../other"]), "sets=['../../other'] must be", id="path as set"
        ),
        pytest.param(
            header("test", vocab_size=33),
            "test/dataset.json: vocab_size=33, but train has vocab_size=32",
            id="splits disagree",
        ),
        pytest.param(
            header("train", total_groups=4),
            "train/dataset.json: total_groups=4, but the sets have 3",
            id="group count",
        ),
        pytest.param(
            header("train", sets=["all", "more"]),
            "train/more__inputs.npy: no such file, but dataset.json names its set",
            id="set without files",
        ),
        pytest.param(
            lambda folder: (folder / "test" / "all__labels.npy").unlink(),
            "test/all__labels.npy: no such file",
            id="labels missing",
        ),
        pytest.param(
            lambda folder: (folder / "train" / "all__inputs.npy").write_bytes(b"PK text"),
            "train/all__inputs.npy: not a whole NumPy file",
            id="no NumPy file",
        ),
        pytest.param(
            lambda folder: np.save(
                folder / "train" / "all__inputs.npy", np.array([{}, {}]), allow_pickle=True
            ),
            "train/all__inputs.npy: not a whole NumPy file",
            id="pickled",
        ),
        pytest.param(
            change("train", "inputs", lambda a: a.astype(np.float32)),
            "train/all__inputs.npy: dtype float32, must be whole numbers",
            id="floats",
        ),
        pytest.param(
            change("train", "inputs", lambda a: a[0]),
            "train/all__inputs.npy: shape (4,), must have 2 dimensions",
            id="one row",
        ),
        pytest.param(
            change("train", "inputs", lambda a: a[:, :3]),
            "train/all__inputs.npy: 3 tokens a row, must be 4 (seq_len)",
            id="short rows",
        ),
        pytest.param(
            change("train", "labels", lambda a: a[:5]),
            "train/all__labels.npy: 5 rows, must be 9",
            id="fewer labels than inputs",
        ),
        pytest.param(
            change("train", "inputs", with_value((3, 1), 32)),
            "train/all__inputs.npy: 32 in row 3, must be from 0 to 31 (vocab_size",
            id="token outside",
        ),
        pytest.param(
            change("test", "labels", with_value((8, 0), -1)),
            "test/all__labels.npy: -1 in row 8, must be from 0 to 31",
            id="negative label",
        ),
        pytest.param(
            change("test", "labels", lambda a: a * 0),
            "test/all__labels.npy: every label is ignored",
            id="nothing to score",
        ),
        pytest.param(
            change("train", "puzzle_identifiers", with_value(2, 6)),
            "train/all__puzzle_identifiers.npy: 6 in row 2, must be from 0 to 5 "
            "(num_puzzle_identifiers",
            id="identifier outside",
        ),
        pytest.param(
            change("train", "puzzle_identifiers", lambda a: a[:4]),
            "train/all__puzzle_identifiers.npy: 4 entries, must be 6 (puzzles)",
            id="identifiers missing",
        ),
        pytest.param(
            change("train", "puzzle_indices", with_value(-1, 8)),
            "train/all__puzzle_indices.npy: must rise from 0 to 9, the number of rows of the "
            "inputs, without a repeat; it goes from 0 to 8",
            id="puzzles end early",
        ),
        pytest.param(
            change("train", "puzzle_indices", with_value(2, 2)),
            "train/all__puzzle_indices.npy: must rise",
            id="empty puzzle",
        ),
        pytest.param(
            change("train", "group_indices", with_value(0, 1)),
            "train/all__group_indices.npy: must rise from 0 to 6, the number of puzzles",
            id="groups start late",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(DataError) as caught:
        task_of(folder)
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_named(folder):
    path = folder / "train" / "all__labels.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"train/all__labels\.npy: not a whole NumPy file"):
        task_of(folder)


def test_large_files_are_checked_part_by_part(folder, monkeypatch):
    monkeypatch.setattr("hrm_sweep.hrm.data.folders.TOKENS_AT_ONCE", 8)
    task_of(folder)
    change("train", "inputs", with_value((7, 2), 99))(folder)
    with pytest.raises(DataError, match="99 in row 7, must be from 0 to 31"):
        task_of(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"sampling": "some"}, "sampling=some: must be one of all", id="sampling"),
        pytest.param({"num_eval_puzzles": 0}, "num_eval_puzzles=0: must be at least 1", id="none"),
        pytest.param({"path": " "}, "path= : must name a folder", id="no path"),
        pytest.param({"path": []}, "path=[]: must name a folder, or a list of", id="no folders"),
        pytest.param({"path": 3}, "path=3: must name a folder, or a list of folders", id="number"),
        pytest.param({"path": ["a", "b", "a"]}, "names a twice; leave one out", id="twice"),
        pytest.param({"batch_size": 0}, "batch_size=0: must be at least 1", id="batch size"),
    ],
)
def test_a_rule_names_key_value_and_way_out(tmp_path, changes, message):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, **changes)
    assert message in str(caught.value)
