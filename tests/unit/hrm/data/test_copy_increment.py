"""The copy/increment puzzles against a plain reading of their rules."""

import pytest
import torch
from omegaconf import OmegaConf
from paths import ROOT

from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm.data import build_task
from hrm_sweep.hrm.data.configs import PATTERNS, CopyIncrementConfig, apportion

YAML = ROOT / "conf" / "data" / "copy_increment.yaml"
TABLE = [3, 7, 0, 9, 1, 8, 2, 6, 4, 5]


def config(**changes):
    tree = OmegaConf.merge(
        {"batch_size": 8, "data": OmegaConf.structured(CopyIncrementConfig)},
        {"data": OmegaConf.load(YAML)},
        {"data": {"num_puzzles": 200, "num_eval_puzzles": 256} | changes},
    )
    OmegaConf.resolve(tree)
    return OmegaConf.to_object(tree.data)


def only(*patterns):
    return {name: 1.0 if name in patterns else 0.0 for name in PATTERNS}


def task_of(*, seed=0, **changes):
    return build_task(config(**changes), seed=seed)


def inputs_of(puzzles, pattern):
    return [tuple(row) for row in puzzles.inputs[puzzles.patterns == pattern].tolist()]


def expected_output(pattern, grid):
    side = range(len(grid))
    cell = {
        "copy": lambda r, c: grid[r][c],
        "increment": lambda r, c: 0 if grid[r][c] == 9 else grid[r][c] + 1,
        "decrement": lambda r, c: 9 if grid[r][c] == 0 else grid[r][c] - 1,
        "mirror": lambda r, c: grid[r][len(grid) - 1 - c],
        "transpose": lambda r, c: grid[c][r],
        "recolour": lambda r, c: TABLE[grid[r][c]],
    }[pattern]
    return [[cell(r, c) for c in side] for r in side]


def read_canvas(tokens, canvas):
    """The grid in the corner, after checking every token around it."""
    rows = [tokens[r * canvas : (r + 1) * canvas] for r in range(canvas)]
    side = rows[0].index(1)
    for r in range(canvas):
        for c in range(canvas):
            if r < side and c < side:
                assert 2 <= rows[r][c] <= 11
            elif (r < side and c == side) or (r == side and c < side):
                assert rows[r][c] == 1
            else:
                assert rows[r][c] == 0
    return [[token - 2 for token in row[:side]] for row in rows[:side]]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param({"canvas": 6, "grid": 5, "smallest_grid": 5}, id="6x6"),
        pytest.param({"canvas": 30, "grid": 5, "smallest_grid": 5}, id="30x30"),
        pytest.param({"canvas": 9, "grid": 6, "smallest_grid": 2}, id="sides 2 to 6"),
    ],
)
def test_every_answer_follows_the_rule(pattern, sizes):
    task = task_of(patterns=only(pattern), num_puzzles=50, num_eval_puzzles=20, **sizes)
    canvas = sizes["canvas"]
    sides = set()
    for puzzles in (task.train, task.eval):
        for inputs, labels in zip(puzzles.inputs.tolist(), puzzles.labels.tolist(), strict=True):
            grid = read_canvas(inputs, canvas)
            sides.add(len(grid))
            answer = read_canvas([max(label, 0) for label in labels], canvas)
            assert answer == expected_output(pattern, grid)
            assert [label == -100 for label in labels] == [token == 0 for token in inputs]
    assert sides == set(range(sizes["smallest_grid"], sizes["grid"] + 1))


def test_the_default_is_half_copy_half_increment_with_an_identifier_each():
    task = task_of()
    assert task.patterns == ("copy", "increment")
    assert (task.vocab_size, task.seq_len, task.num_identifiers) == (12, 36, 3)
    for puzzles in (task.train, task.eval):
        assert torch.equal(puzzles.identifiers, puzzles.patterns + 1)
        assert puzzles.patterns.bincount().tolist() == [len(puzzles) // 2] * 2


def test_shared_identifiers_do_not_tell_the_rule():
    task = task_of(identifiers="shared")
    assert task.num_identifiers == 2
    assert set(task.train.identifiers.tolist()) == {1}
    assert set(task.train.patterns.tolist()) == {0, 1}


def test_weights_share_out_the_training_set_and_leave_the_held_out_set_even():
    task = task_of(num_puzzles=10, patterns=only() | {"copy": 5.0, "mirror": 3.0, "transpose": 1.5})
    assert task.patterns == ("copy", "mirror", "transpose")
    assert task.train.patterns.bincount().tolist() == [5, 3, 2]
    assert task.eval.patterns.bincount().tolist() == [86, 85, 85]


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        pytest.param(7, [1, 1], [4, 3], id="odd"),
        pytest.param(10, [5, 3], [6, 4], id="largest remainder"),
        pytest.param(1, [1, 1, 1], [1, 0, 0], id="fewer than patterns"),
        pytest.param(3, [0.1, 0.1, 0.1], [1, 1, 1], id="inexact fractions"),
    ],
)
def test_shares_are_whole_and_add_up(total, weights, shares):
    assert apportion(total, weights) == shares


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="default"),
        pytest.param({"num_puzzles": 3000, "patterns": only(*PATTERNS)}, id="all patterns"),
        pytest.param(
            {"grid": 1, "smallest_grid": 1, "num_puzzles": 10, "num_eval_puzzles": 10},
            id="every grid there is",
        ),
        pytest.param(
            {
                "grid": 2,
                "smallest_grid": 2,
                "num_puzzles": 9999,
                "num_eval_puzzles": 1,
                "patterns": only("mirror"),
            },
            id="all 10,000 grids of 2 by 2",
        ),
    ],
)
def test_no_input_of_a_pattern_comes_twice(changes):
    task = task_of(**changes)
    for pattern in range(len(task.patterns)):
        seen, unseen = inputs_of(task.train, pattern), inputs_of(task.eval, pattern)
        assert len({*seen, *unseen}) == len(seen) + len(unseen)


def test_the_colours_wrap_around_and_the_wrap_is_scored():
    task = task_of(patterns=only("increment"))
    wraps = task.eval.inputs == 11
    assert wraps.float().mean() > 0.05
    assert set(task.eval.labels[wraps].tolist()) == {2}


def test_colours_are_even():
    task = task_of(num_puzzles=4000)
    counts = task.train.inputs.flatten().long().bincount()[2:]
    assert (counts - 10_000).abs().max() < 500  # five standard deviations


def test_equal_seeds_give_equal_puzzles_everywhere():
    assert task_of().describe()["digest"] == task_of().describe()["digest"]
    assert task_of(seed=1).describe()["digest"] != task_of().describe()["digest"]
    # the same on every platform: written down once, on Linux with NumPy 2.4
    assert task_of().describe()["digest"] == "5ec19fedaf8ef382"


def test_more_puzzles_keep_the_fewer_and_the_held_out_set():
    fewer, more = task_of(num_puzzles=100), task_of(num_puzzles=120)
    for pattern in (0, 1):
        assert set(inputs_of(fewer.train, pattern)) < set(inputs_of(more.train, pattern))
    assert torch.equal(fewer.eval.inputs, more.eval.inputs)
    weighted = task_of(patterns=only() | {"copy": 3.0, "increment": 1.0})
    assert torch.equal(fewer.eval.labels, weighted.eval.labels)


def test_noise_replaces_its_share_of_the_colours_by_others():
    task = task_of(noise=0.1, num_puzzles=4000)
    everyone = torch.arange(4000)
    clean, noisy = task.train.take(everyone), task.draw(everyone, epoch=2)
    coloured = clean.inputs >= 2
    changed = clean.inputs != noisy.inputs
    assert not changed[~coloured].any()
    assert changed[coloured].float().mean() == pytest.approx(0.1, abs=0.005)
    assert noisy.inputs[coloured].min() == 2
    assert noisy.inputs[coloured].max() == 11
    shifts = ((noisy.inputs - clean.inputs)[changed] % 10).bincount()
    assert shifts[0] == 0
    assert (shifts[1:] - changed.sum() / 9).abs().max() < 170  # five standard deviations
    assert torch.equal(clean.labels, noisy.labels)


def test_noise_is_a_function_of_seed_epoch_and_index():
    task = task_of(noise=0.3)
    whole = task.draw(torch.arange(200), epoch=5).inputs
    other_epoch = task.draw(torch.arange(200), epoch=6).inputs
    assert not torch.equal(whole, other_epoch)
    some = torch.tensor([17, 3, 150])
    again = task_of(noise=0.3)
    assert torch.equal(again.draw(some, epoch=5).inputs, whole[some])
    assert not torch.equal(task_of(noise=0.3, seed=1).draw(some, epoch=5).inputs, whole[some])


def test_noise_leaves_the_held_out_puzzles_clean():
    assert torch.equal(task_of(noise=0.9).eval.inputs, task_of().eval.inputs)


def test_a_curriculum_shows_the_easiest_of_each_pattern_first():
    task = task_of(curriculum={1: 0.25, 3: 0.5, 6: 1.0}, smallest_grid=2)
    sizes = (task.train.inputs >= 2).sum(dim=1)
    counts = []
    for epoch in range(1, 8):
        order = task.order(epoch)
        counts.append(len(order))
        assert len(order.unique()) == len(order)
        left_out = torch.ones(200, dtype=torch.bool).index_fill(0, order, False)
        for pattern in (0, 1):
            mine = task.train.patterns[order] == pattern
            assert mine.sum() == len(order) // 2
            others = left_out & (task.train.patterns == pattern)
            if others.any():
                assert sizes[order][mine].max() <= sizes[others].min()
    assert counts == [50, 50, 100, 100, 100, 200, 200]


def test_among_grids_of_a_size_fewer_colours_are_easier():
    task = task_of(curriculum={1: 0.1, 2: 1.0})
    variety = torch.tensor([len(set(row) - {0, 1}) for row in task.train.inputs.tolist()])
    first = task.order(1)
    for pattern in (0, 1):
        mine = first[task.train.patterns[first] == pattern]
        everyone = variety[task.train.patterns == pattern].sort().values
        assert variety[mine].sort().values.tolist() == everyone[:10].tolist()


def test_even_the_smallest_share_shows_a_puzzle():
    assert len(task_of(curriculum={1: 0.001, 2: 1.0}).order(1)) == 2


def test_the_metrics_it_adds_are_known_before_training():
    assert config(patterns=only("copy", "mirror")).metric_names() == [
        "eval/exact_match/copy",
        "eval/exact_match/mirror",
        "eval/token_accuracy/copy",
        "eval/token_accuracy/mirror",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"batch_size": 0}, "batch_size=0: must be at least 1", id="batch size"),
        pytest.param({"num_puzzles": 0}, "num_puzzles=0: must be at least 1", id="no puzzles"),
        pytest.param(
            {"num_eval_puzzles": 1},
            "num_eval_puzzles=1: must hold out at least one puzzle of each of the 2 patterns",
            id="a pattern without evaluation",
        ),
        pytest.param(
            {"grid": 1, "smallest_grid": 1, "num_puzzles": 14, "num_eval_puzzles": 8},
            "num_puzzles=14: with num_eval_puzzles=8 asks for 11 puzzles of the pattern copy, "
            "but only 10 exist; use fewer puzzles or a larger grid",
            id="more than exist",
        ),
        pytest.param(
            {"num_puzzles": 10**12},
            "num_puzzles=1000000000000: with num_eval_puzzles=256, 36 tokens each, would take "
            "72000 GB of memory; stay below 13888888 puzzles in all",
            id="more than memory",
        ),
        pytest.param(
            {"canvas": 5},
            "canvas=5: too small for grid=5 and the end marks after it; try canvas=6 or grid=4",
            id="canvas too small",
        ),
        pytest.param({"grid": 0}, "grid=0: must be at least 1; try grid=1", id="no grid"),
        pytest.param(
            {"smallest_grid": 6}, "smallest_grid=6: must be from 1 to grid=5", id="sizes reversed"
        ),
        pytest.param(
            {"patterns": {"mirorr": 1.0}},
            "patterns.mirorr=1.0: no pattern of that name; did you mean mirror?",
            id="mistyped pattern",
        ),
        pytest.param(
            {"patterns": {"copy": -1.0}},
            "patterns.copy=-1.0: must be finite and at least 0",
            id="negative weight",
        ),
        pytest.param(
            {"patterns": {"copy": float("inf")}},
            "patterns.copy=inf: must be finite and at least 0",
            id="infinite weight",
        ),
        pytest.param({"patterns": only()}, "no pattern has a weight", id="no pattern"),
        pytest.param(
            {"identifiers": "per_patern"},
            "identifiers=per_patern: must be one of per_pattern, shared; did you mean per_pattern?",
            id="mistyped identifiers",
        ),
        pytest.param({"noise": 1.0}, "noise=1.0: must be at least 0 and less", id="all noise"),
        pytest.param({"noise": -0.1}, "noise=-0.1: must be at least 0", id="negative noise"),
        pytest.param({"noise": float("nan")}, "noise=nan: must be at least 0", id="nan noise"),
        pytest.param(
            {"curriculum": {2: 0.5, 3: 1.0}},
            "curriculum={2: 0.5, 3: 1.0}: must name epoch 1 and shares above 0 that rise to 1",
            id="curriculum without a beginning",
        ),
        pytest.param(
            {"curriculum": {1: 0.5, 3: 0.2, 4: 1.0}},
            "shares above 0 that rise",
            id="falling shares",
        ),
        pytest.param({"curriculum": {1: 0.5}}, "rise to 1", id="curriculum without an end"),
        pytest.param({"curriculum": {}}, "must name epoch 1", id="empty curriculum"),
        pytest.param(
            {"recolour": [1, 2]},
            "recolour=[1, 2]: must give each of the 10 colours one of 0-9",
            id="short table",
        ),
        pytest.param({"recolour": [*range(9), 10]}, "one of 0-9", id="colour outside"),
    ],
)
def test_a_rule_names_key_value_and_way_out(changes, message):
    with pytest.raises(ConfigError) as caught:
        config(**changes)
    assert message in str(caught.value)
