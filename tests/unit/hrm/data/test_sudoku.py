"""Sudoku against a plain backtracking solver and a plain list of all symmetries."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.configs import SudokuConfig
from hrm_sweep.hrm.data.random_stream import RandomStream
from hrm_sweep.hrm.data.sudoku import BLANK, draw_puzzles, num_keys, symmetries
from hrm_sweep.hrm.data.sudoku_board import Geometry, solvable, symmetry_hashes

YAML = ROOT / "conf" / "data" / "sudoku.yaml"
BOXES = {"2x2": (2, 2), "2x3": (2, 3), "3x3": (3, 3)}
FEW = {"num_puzzles": 20, "num_eval_puzzles": 10}


def config(**changes):
    tree = OmegaConf.merge(
        {"batch_size": 8, "data": OmegaConf.structured(SudokuConfig)},
        {"data": OmegaConf.load(YAML)},
        {"data": changes},
    )
    OmegaConf.resolve(tree)
    return OmegaConf.to_object(tree.data)


def task_of(*, seed=0, **changes):
    return build_task(config(**changes), seed=seed)


@cache
def few(box):
    """A small task, made once; nobody changes it."""
    return task_of(box=box, **FEW)


def digits_of(tokens):
    """Token rows as digits from 1, 0 where empty."""
    return [[token - 1 for token in row] for row in tokens.tolist()]


def peers(cell, rows, columns):
    side = rows * columns
    r, c = divmod(cell, side)
    return [
        other
        for other in range(side * side)
        if other != cell
        and (
            other // side == r
            or other % side == c
            or (other // side // rows == r // rows and other % side // columns == c // columns)
        )
    ]


def solutions_of(puzzle, rows, columns, *, limit=2):
    """Up to `limit` solutions by backtracking on the most constrained cell."""
    side = rows * columns
    near = [peers(cell, rows, columns) for cell in range(side * side)]
    found = []

    def fill(board):
        options = {
            cell: set(range(1, side + 1)) - {board[other] for other in near[cell]}
            for cell in range(side * side)
            if board[cell] == 0
        }
        if not options:
            found.append(board)
            return
        cell = min(options, key=lambda cell: len(options[cell]))
        for digit in options[cell]:
            if len(found) < limit:
                fill([*board[:cell], digit, *board[cell + 1 :]])

    clashes = any(
        puzzle[cell] and puzzle[cell] == puzzle[other]
        for cell in range(side * side)
        for other in near[cell]
    )
    if not clashes:
        fill(list(puzzle))
    return found


def line_orders(size, count):
    """Every order of count blocks of size lines that keeps the blocks together."""
    inside = list(itertools.permutations(range(size)))
    return [
        [block * size + line for block in blocks for line in within[block]]
        for blocks in itertools.permutations(range(count))
        for within in itertools.product(inside, repeat=count)
    ]


def every_form(puzzle):
    """All 128 arrangements of a 4x4 puzzle, digits renamed by their first appearance."""
    grid = [puzzle[i : i + 4] for i in range(0, 16, 4)]
    result = set()
    for board in (grid, [list(column) for column in zip(*grid, strict=True)]):
        for rows, columns in itertools.product(line_orders(2, 2), repeat=2):
            cells = [board[r][c] for r in rows for c in columns]
            names = {0: 0}
            result.add(tuple(names.setdefault(cell, len(names)) for cell in cells))
    return result


@pytest.mark.parametrize(
    ("box", "checked"),
    [
        pytest.param("2x2", 30, id="4x4"),
        pytest.param("2x3", 10, id="6x6"),
        pytest.param("3x3", 4, id="9x9"),
    ],
)
def test_every_puzzle_has_the_labelled_solution_and_no_other(box, checked):
    task = few(box)
    for puzzles in (task.train, task.eval):
        tokens = zip(digits_of(puzzles.inputs), digits_of(puzzles.labels), strict=True)
        for puzzle, solution in list(tokens)[: checked // 2]:
            assert solutions_of(puzzle, *BOXES[box]) == [solution]


@pytest.mark.parametrize("box", BOXES)
def test_solvable_agrees_with_backtracking(box):
    """Puzzles with some digits changed: some keep a solution, others lose it."""
    geometry = Geometry(*BOXES[box])
    puzzles, _ = draw_puzzles(30, "train", config(box=box), seed=3, excluded=None)
    stream = RandomStream(1)
    for puzzle in puzzles:
        empty = np.flatnonzero(puzzle == 0)
        puzzle[empty[stream.integers(len(empty))]] = 1 + stream.integers(geometry.side)
        if stream.uniform() < 0.5:
            puzzle[np.flatnonzero(puzzle)[:3]] = 0
    expected = [bool(solutions_of(puzzle, *BOXES[box], limit=1)) for puzzle in puzzles.tolist()]
    assert solvable(boards_of(puzzles, geometry), geometry).tolist() == expected
    assert 2 < sum(expected) < 28


def test_solvable_finds_a_solution_of_the_empty_board_and_none_of_a_clash():
    geometry = Geometry(2, 2)
    clash = np.array([[1, 1] + [0] * 14])
    assert solvable(geometry.empty(1), geometry).tolist() == [True]
    assert solvable(boards_of(clash, geometry), geometry).tolist() == [False]


def boards_of(puzzles: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The candidates of puzzles [N, C]: a given digit, or all."""
    bits = np.uint16(1) << (np.maximum(puzzles, 1) - 1).astype(np.uint16)
    return np.where(puzzles > 0, bits, geometry.every_digit)


@pytest.mark.parametrize(
    ("changes", "fewest", "most"),
    [
        pytest.param({}, 5, 8, id="4x4"),
        pytest.param({"box": "2x3"}, 10, 16, id="6x6"),
        pytest.param({"box": "3x3"}, 24, 34, id="9x9"),
        pytest.param({"givens": [9, 9]}, 9, 9, id="exactly nine"),
        pytest.param({"givens": [4, 15]}, 4, 15, id="all there are"),
    ],
)
def test_the_givens_are_in_range_and_use_it(changes, fewest, most):
    task = task_of(num_puzzles=200, num_eval_puzzles=1, **changes)
    counts = (task.train.inputs > 1).sum(dim=1)
    assert counts.max() == most
    assert fewest <= counts.min() <= fewest + 1


def test_tokens_are_those_of_the_published_sudoku_sets():
    task = few("3x3")
    assert (task.vocab_size, task.seq_len, task.num_identifiers) == (11, 81, 2)
    assert sorted(task.train.inputs.unique().tolist()) == list(range(1, 11))
    assert sorted(task.train.labels.unique().tolist()) == list(range(2, 11))
    given = task.train.inputs > 1
    assert torch.equal(task.train.inputs[given], task.train.labels[given])


def test_no_puzzle_comes_twice():
    task = task_of()
    rows = [tuple(row) for p in (task.train, task.eval) for row in p.inputs.tolist()]
    assert len(set(rows)) == len(rows) == 2000


def test_more_puzzles_keep_the_fewer_and_the_held_out_set():
    fewer, more = task_of(num_puzzles=100), task_of(num_puzzles=400)
    assert torch.equal(fewer.train.inputs, more.train.inputs[:100])
    assert torch.equal(fewer.eval.inputs, more.eval.inputs)


def test_equal_seeds_give_equal_puzzles_everywhere():
    assert task_of(seed=1).describe()["digest"] != task_of().describe()["digest"]
    # the same on every platform: written down once, on Linux with NumPy 2.4
    assert task_of().describe()["digest"] == "fe8d1a6e4a55782e"
    assert task_of(apart="puzzle").describe()["digest"] == "1cdcacecde37e1b1"
    assert few("3x3").describe()["digest"] == "2fbff7241cff3959"


def test_apart_by_symmetry_means_no_form_in_common():
    task = task_of(num_puzzles=60, num_eval_puzzles=40)
    seen = {form for puzzle in digits_of(task.train.inputs) for form in every_form(puzzle)}
    assert not any(seen & every_form(puzzle) for puzzle in digits_of(task.eval.inputs))


def test_apart_by_puzzle_leaves_forms_in_common():
    """What the key is for: half of the held-out 4x4 puzzles are forms of training puzzles."""
    task = task_of(apart="puzzle")
    geometry = Geometry(2, 2)
    train, test = (
        symmetry_hashes(np.array(digits_of(puzzles.inputs)), geometry)
        for puzzles in (task.train, task.eval)
    )
    assert 0.4 < np.isin(test, train).mean() < 0.6


def test_there_are_thirteen_forms_of_4x4_puzzles_with_four_givens():
    """Known from the literature on shidoku; the plain list of forms agrees."""
    puzzles, _ = draw_puzzles(400, "train", config(givens=[4, 4]), seed=0, excluded=None)
    assert len({min(every_form(puzzle)) for puzzle in puzzles.tolist()}) == 13
    assert len(set(symmetry_hashes(puzzles, Geometry(2, 2)))) == 13


@pytest.mark.parametrize("box", BOXES)
def test_a_symmetry_keeps_the_rules_and_the_form(box):
    geometry = Geometry(*BOXES[box])
    puzzles, solutions = draw_puzzles(50, "train", config(box=box), seed=0, excluded=None)
    cells, tokens = symmetries(RandomStream(5).uniform(50, num_keys(geometry)), geometry)
    moved = np.take_along_axis(tokens, np.take_along_axis(puzzles + 1, cells, 1), 1) - 1
    solved = np.take_along_axis(tokens, np.take_along_axis(solutions + 1, cells, 1), 1) - 1
    assert (moved != puzzles).any(axis=1).all()
    assert ((moved > 0).sum(axis=1) == (puzzles > 0).sum(axis=1)).all()
    assert np.array_equal(symmetry_hashes(moved, geometry), symmetry_hashes(puzzles, geometry))
    for before, after in list(zip(moved.tolist(), solved.tolist(), strict=True))[:4]:
        assert solutions_of(before, *BOXES[box]) == [after]


def test_all_symmetries_of_4x4_come_equally_often():
    geometry = Geometry(2, 2)
    cells, tokens = symmetries(RandomStream(0).uniform(12_800, num_keys(geometry)), geometry)
    plain = {
        tuple(board[r][c] for r in rows for c in columns)
        for board in (np.arange(16).reshape(4, 4), np.arange(16).reshape(4, 4).T)
        for rows, columns in itertools.product(line_orders(2, 2), repeat=2)
    }
    arrangements, counts = np.unique(cells, axis=0, return_counts=True)
    assert {tuple(row) for row in arrangements} == plain
    assert np.abs(counts - 100).max() < 50  # five standard deviations
    names, counts = np.unique(tokens, axis=0, return_counts=True)
    assert {tuple(row[2:]) for row in names} == set(itertools.permutations([2, 3, 4, 5]))
    assert (names[:, :2] == [0, 1]).all()
    assert np.abs(counts - 12_800 / 24).max() < 115


def test_boards_of_2x3_boxes_are_not_transposed():
    geometry = Geometry(2, 3)
    cells, _ = symmetries(RandomStream(0).uniform(200, num_keys(geometry)), geometry)
    rows = cells.reshape(200, 6, 6) // 6
    assert (rows == rows[:, :, :1]).all()


def test_a_draw_is_a_function_of_seed_epoch_and_index():
    task = task_of()
    whole = task.draw(torch.arange(1000), epoch=4)
    some = torch.tensor([999, 0, 17])
    again = task_of().draw(some, epoch=4)
    assert torch.equal(again.inputs, whole.inputs[some])
    assert torch.equal(again.labels, whole.labels[some])
    assert not torch.equal(task.draw(some, epoch=5).inputs, again.inputs)
    assert not torch.equal(task.draw(some, epoch=4).inputs, task.train.take(some).inputs)


def test_a_drawn_puzzle_is_still_a_puzzle():
    task = few("2x3")
    for epoch in range(1, 4):
        batch = task.draw(torch.arange(5), epoch)
        for puzzle, solution in zip(digits_of(batch.inputs), digits_of(batch.labels), strict=True):
            assert solutions_of(puzzle, 2, 3) == [solution]


def test_without_augmentation_a_puzzle_stays_as_it_is():
    task = task_of(augment=False)
    assert torch.equal(task.draw(torch.arange(1000), 3).inputs, task.train.all().inputs)


def test_validity_looks_at_rows_columns_and_boxes():
    task = few("2x2")
    solution = task.eval.labels[0].long()
    latin = torch.tensor([[2, 3, 4, 5], [3, 4, 5, 2], [4, 5, 2, 3], [5, 2, 3, 4]]).flatten()
    blank = solution.clone()
    blank[3] = 1
    swapped = solution.view(4, 4)[:, [1, 0, 2, 3]].flatten()
    twice = solution.view(4, 4)[[0, 0, 2, 3]].flatten()
    predictions = torch.stack([solution, latin, blank, swapped, twice])
    inputs = task.eval.inputs[:1].long().expand(5, -1)
    validity = task.extra_metrics(inputs, predictions)["validity"]
    assert validity.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert validity.dtype == torch.float32
    assert config().metric_names()[0] == "eval/validity"


def test_a_picture_shows_digits_from_1():
    task = few("2x2")
    expected = [[cell or -1 for cell in row] for row in digits_of(task.train.inputs[:1])]
    assert task.picture(task.train.inputs[0]).flatten().tolist() == expected[0]
    assert task.picture(torch.full((16,), -100)).flatten().tolist() == [-2] * 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"box": "4x4"}, "box=4x4: must be one of 2x2, 2x3, 3x3", id="unknown box"),
        pytest.param({"apart": "form"}, "apart=form: must be one of puzzle, symmetry", id="apart"),
        pytest.param({"num_puzzles": 0}, "num_puzzles=0: must be at least 1", id="no puzzles"),
        pytest.param({"num_eval_puzzles": 0}, "num_eval_puzzles=0: must be", id="none held out"),
        pytest.param({"batch_size": 0}, "batch_size=0: must be at least 1", id="batch size"),
        pytest.param(
            {"givens": [3, 8]},
            "givens=[3, 8]: must be [smallest, largest], from 4 to 15 for box=2x2; "
            "try givens=[5, 8]",
            id="too few givens",
        ),
        pytest.param({"givens": [8, 5]}, "must be [smallest, largest]", id="reversed"),
        pytest.param({"givens": [5, 16]}, "from 4 to 15", id="nothing to fill in"),
        pytest.param({"givens": [5]}, "must be [smallest, largest]", id="one number"),
        pytest.param(
            {"box": "3x3", "givens": [17, 20]},
            "givens=[17, 20]: hardly any puzzle of box=3x3 has fewer than 23; try givens=[24, 34]",
            id="rare givens",
        ),
        pytest.param({"num_puzzles": 10**9}, "would take 32 GB of memory", id="memory"),
    ],
)
def test_a_rule_names_key_value_and_way_out(changes, message):
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert message in str(caught.value)


def test_more_puzzles_than_exist_are_refused():
    """All thirteen forms of four givens are held out, so that none is left to train on."""
    with pytest.raises(ConfigError) as caught:
        task_of(givens=[4, 4], num_eval_puzzles=400, num_puzzles=5, apart="symmetry")
    assert str(caught.value) == (
        "num_puzzles=5: found only 0 such puzzles of box=2x2 with 4 to 4 givens; "
        "use fewer, another range of givens, or apart=puzzle"
    )


def test_a_curriculum_begins_with_the_puzzles_that_have_most_givens():
    task = task_of(num_puzzles=20, curriculum={1: 0.25, 3: 1.0})
    givens = (task.train.inputs != BLANK).sum(dim=1)
    early = task.order(2)
    assert len(early) == 5
    assert givens[early].min() >= givens.sort(descending=True).values[4]
    assert sorted(task.order(3).tolist()) == list(range(20))


def test_a_curriculum_that_does_not_end_with_all_puzzles_is_refused():
    with pytest.raises(ConfigError, match=r"^(data\.)?curriculum=.*shares above 0 that rise to 1"):
        task_of(curriculum={1: 0.5})
