"""What a person types at the prompt, and the one line that answers a mistake."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from hrm_sweep import cli
from hrm_sweep.hrm import single_run
from hrm_sweep.runs.recipe import flatten

FLAGS = [
    pytest.param(["--help"], "python -m hrm_sweep -m lr=1e-4,5e-4,1e-3", id="help"),
    pytest.param(["--cfg", "job"], "hidden_dim: ${hidden_dim}", id="config"),
    pytest.param(["--cfg", "hydra"], "hrm_sweep_plugins.sweeper.HrmSweeper", id="Hydra's config"),
    pytest.param(["--info", "defaults"], "| study/sampler", id="info"),
    pytest.param(["--info", "plugins"], "HrmSweeper", id="plugins"),
]

MISTAKES = [
    pytest.param(["lrr=3"], "lrr=3: no key of that name; did you mean lr?", id="mistyped key"),
    pytest.param(["model.hiden_dim=3"], "did you mean model.hidden_dim", id="mistyped group key"),
    pytest.param(["lr=abc"], "lr=abc: must be a number; such as lr=1e-3", id="no number"),
    pytest.param(["lr="], "lr=: must be a number", id="empty"),
    pytest.param(["lr=-1"], "lr=-1: must be finite and above 0", id="negative"),
    pytest.param(["batch_size=0"], "batch_size=0: must be at least 1", id="zero"),
    pytest.param(["epochs=2.5"], "epochs=2.5: must be a whole number", id="half an epoch"),
    pytest.param(["seed=-1"], "seed=-1: must be 0 or more", id="seed"),
    pytest.param(["~lr"], "lr=???: is needed", id="deleted key"),
    pytest.param(
        ["hidden_dim=100", "model.num_heads=3"],
        "hidden_dim=100: must be a multiple of model.num_heads=3; try hidden_dim=",
        id="heads",
    ),
    pytest.param(
        ["model=gru"], "model=gru: no such option; choose from hrm, transformer, trm", id="option"
    ),
    pytest.param(
        ["lr=1e-4,1e-3"],
        "lr=1e-4,1e-3: several values need -m (a study): ",
        id="comma list without -m",
    ),
    pytest.param(["lr=[1"], "lr=[1: cannot be parsed; close every bracket", id="bracket"),
    pytest.param(
        ["study.name=größe"],
        "study.name=größe: letters beyond ASCII need quotes of Hydra's own: 'study.name=\"größe\"'",
        id="letters that Hydra takes in quotes only",
    ),
    pytest.param(
        ["-m", "lr=[1e-3,1e-2]"],
        "lr=[0.001, 0.01]: must be a number; to try several, write -m lr=0.001,0.01",
        id="a list instead of several values",
    ),
    pytest.param(["bogus"], "bogus: not an override; write key=value", id="a bare word"),
    pytest.param(
        ["study.objective=eval/exact_mach"],
        "study.objective=eval/exact_mach: no metric of that name; did you mean eval/exact_match",
        id="objective",
    ),
    pytest.param(
        ["trainer.epochs=2", "epochs=6"],
        "epochs=6: has no effect beside trainer.epochs=2; set trainer.epochs alone",
        id="a key that nothing reads",
    ),
    pytest.param(
        ["trainer.monitor=eval/exact_mach"],
        "trainer.monitor=eval/exact_mach: no metric of that name; did you mean eval/exact_match",
        id="monitor",
    ),
    pytest.param(["trainer.monitor=foo"], "trainer.monitor=foo: no metric", id="no metric at all"),
    pytest.param(
        ["study.objective=eval/loss", "study.direction=maximize"],
        "study.direction=maximize: eval/loss is better when it is lower",
        id="direction against its metric",
    ),
    pytest.param(["study.name=a/b"], "study.name=a/b: must be one folder's name", id="study name"),
    pytest.param(["-m", "lr=1e-3,abc"], "lr=abc: must be a number", id="second point of a grid"),
    pytest.param(["-m", "hidden_dim=64,65"], "hidden_dim=65: must be a multiple", id="corner"),
    pytest.param(["-m", "model=hrm,gru"], "model=gru: no such option", id="option in a sweep"),
    pytest.param(["-m", "lrr=1,2"], "lrr=1,2: no key of that name", id="mistyped key in a sweep"),
    pytest.param(["-m", "lr=interval(3, 1)"], "low < high, got 3.0 and 1.0", id="interval"),
    pytest.param(["-m", "study.direction=up"], "must be maximize or minimize", id="direction"),
    pytest.param(["epochs=4.0"], "such as epochs=4, or in a search int(interval(", id="whole"),
    pytest.param(["lr=null"], "lr=null: must be a number; such as lr=1e-3", id="null"),
    pytest.param(["model=3"], "model=3: Config group override must be a string", id="no option"),
    pytest.param(["~optimizer"], "optimizer=null: is a group of keys", id="deleted group"),
    pytest.param(["trainer.threads=100000"], "must be at most 1024", id="threads"),
    pytest.param(
        ["lr=interval(1e-4, 1e-3)"],
        "lr=interval(1e-4, 1e-3): several values need -m (a study): ",
        id="interval without -m",
    ),
    pytest.param(["lr=choice()"], "lr=choice(): empty choice is not legal", id="empty choice"),
    pytest.param(["lr=logrange(-1, 1, 3)"], "needs two different bounds above 0", id="logrange"),
    pytest.param(["lr=interval(3)"], "missing a required argument: 'end'", id="half an interval"),
    pytest.param(["--verbos"], "--verbos: no flag of that name; see --help", id="flag"),
    pytest.param(["tracking.uri=ftp://x"], "tracking.uri=ftp://x: must begin with", id="uri"),
    pytest.param(
        ["model.init_from=no.pth"], "model.init_from=no.pth: no such file; give", id="no weights"
    ),
    pytest.param(["study.name=.x"], "without . or - in front", id="hidden study"),
    pytest.param(["study.name='a\nb'"], "must be one line without a margin", id="two lines"),
    pytest.param([f"study.name={'x' * 201}"], "of up to 200 bytes", id="long name"),
    pytest.param([f"{'x' * 4000}=1"], ": is too long for the name of a", id="long key"),
    pytest.param(["best", "x" * 4000], ": no study or run of that name", id="long name"),
    pytest.param([f"lr={'x' * 4000}"], "…", id="long value"),
    pytest.param(["study.name=artifacts"], "artifacts: has another use", id="taken name"),
    pytest.param(["study.objective=3"], "study.objective=3: no metric of that name", id="number"),
    pytest.param(
        ["study.dry_run=true"], "it prints the plan of a study; put -m before it", id="plan"
    ),
    pytest.param(
        ["study.constraints=[1,2]"],
        "study.constraints=[1, 2]: must name metrics and their bounds; such as",
        id="constraints",
    ),
    pytest.param(
        ["lr=1", "-m", "seed=0,1", "lr=abc"], "lr=abc: must be a number", id="-m in between"
    ),
    pytest.param(
        ["-m", "lr=1,2", "epochs=3", "lr=4,5"], "lr=4,5: lr=1,2 is there too; name", id="twice"
    ),
    pytest.param(
        ["-m", "seed=range(1000)", "epochs=range(1,1000)"],
        "seed epochs: a grid of 999,000 points, and at most 100,000 can be kept; take",
        id="endless grid",
    ),
    pytest.param(
        ["-m", "lr=1,2", "study.pruner=median"],
        "study.pruner=median: is chosen by study/pruner=median",
        id="pruner as a value",
    ),
    pytest.param(
        ["-m", "lr=1,2", "study.storage=nosuchdb://x"],
        "study.storage=nosuchdb://x: must be a database of SQLite or PostgreSQL",
        id="storage",
    ),
]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # main() sets it; this puts it back afterwards
    yield
    GlobalHydra.instance().clear()


def run(arguments: list[str], monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2_and_creates_nothing(
    arguments, words, monkeypatch, capfd, tmp_path
):
    assert run(arguments, monkeypatch) == 2
    printed = capfd.readouterr().err.strip()
    assert words in printed
    assert "\n" not in printed
    assert list(tmp_path.iterdir()) == []


def test_a_config_file_that_is_no_yaml_is_named(monkeypatch, capfd, tmp_path):
    folder = tmp_path / "own"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text("lr: 1\nlr: 2: 3\n", encoding="utf-8")
    assert run([f"--config-dir={folder}", "experiment=mine"], monkeypatch) == 2
    said = capfd.readouterr().err
    words = "mine.yaml, line 2, column 6: mapping values are not allowed"
    assert said.endswith((f"{words} in this context\n", f"{words} here\n"))  # LibYAML, PyYAML
    assert said.count("\n") == 1


@pytest.mark.parametrize(("arguments", "words"), FLAGS)
def test_flags_show_without_training(arguments, words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hrm_sweep", *arguments], capture_output=True, text=True, check=True
    )
    assert words in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="alone"),
        pytest.param(["experiment=sudoku_4x4", "lr=0.5", "--resolve"], id="with settings"),
    ],
)
def test_help_has_each_key_of_the_config(arguments):
    start = [sys.executable, "-m", "hrm_sweep", "study.name=one", *arguments]
    shown, config = (
        subprocess.run([*start, *flags], capture_output=True, text=True, check=True).stdout
        for flags in (["--help"], ["--cfg", "job"])
    )
    keys = flatten(yaml.safe_load(config))
    assert len(keys) > 60
    missing = [key for key in keys if not re.search(rf"^  {re.escape(key)}=", shown, re.M)]
    assert missing == ["experiment"] * ("experiment" in missing)  # a group, above the keys


@pytest.mark.parametrize("columns", ["80", "100", "160"])
def test_help_fits_the_terminal(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    line = [sys.executable, "-m", "hrm_sweep", "--help"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert [line for line in shown.splitlines() if len(line) > int(columns)] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["lr"], ["learning rate", "conf/config.yaml, line", "-m lr="], id="root key"),
        pytest.param(["trainer.precision"], ["auto, fp32, bf16", "=fp32"], id="choices"),
        pytest.param(["precision"], ["trainer.precision\n"], id="the end of a key"),
        pytest.param(["patience"], ["study.patience", "early_stopping.patience"], id="two keys"),
        pytest.param(["lr", "lr=0.5"], ["the command line", "value     0.5"], id="with a value"),
        pytest.param(["model"], ["model=trm", "model.num_heads=4"], id="group"),
        pytest.param(["study/sampler"], ["study/sampler=gp", "Gaussian"], id="nested group"),
        pytest.param(["study.pruner"], ["study/pruner=median"], id="nested group as a key"),
        pytest.param(["pruner"], ["study/pruner=median"], id="the end of a group"),
        pytest.param(["num_layers"], ["With model=transformer:", "model.num_layers"], id="option"),
        pytest.param(["trainer.early_stopping"], ["early_stopping.patience=null"], id="mapping"),
        pytest.param(["hydra.sweeper.n_trials"], ["every point of", "whole number"], id="Hydra's"),
        pytest.param(["hydra/launcher"], ["hydra/launcher=slurm", "Slurm"], id="launchers"),
        pytest.param(["metrics"], ["eval/exact_match/copy", "lower is better"], id="metrics"),
        pytest.param(["metrics", "data=sudoku"], ["eval/validity"], id="metrics of a task"),
    ],
)
def test_help_explains_a_key(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hrm-sweep", "--help", *arguments])
    cli.main()
    shown = capsys.readouterr().out
    assert [each for each in words if each not in shown] == []


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        pytest.param("hiden_dim", "did you mean hidden_dim", id="mistyped"),
        pytest.param("model.H_layer", "did you mean model.H_layers", id="mistyped in a group"),
        pytest.param("xyzzy", "--help lists all", id="nothing near"),
    ],
)
def test_help_on_an_unknown_key_is_a_mistake(name, answer, monkeypatch, capsys):
    assert run(["--help", name], monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"--help {name}: no key or group of that name; ")
    assert answer in said.err


def test_a_reader_who_has_enough_is_no_error():
    line = f"{sys.executable} -m hrm_sweep --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Tracked, reproducible")
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # a quick reader leaves before the last line, a slow one not


@pytest.mark.parametrize("folder", ["multirun", "mlruns"])
@pytest.mark.parametrize("arguments", [[], ["-m", "lr=1e-4,1e-3"]], ids=["train", "study"])
def test_a_folder_that_cannot_be_written_is_named(arguments, folder, monkeypatch, capfd, tmp_path):
    Path(folder).touch()  # root may write anywhere, but not below a file
    assert run(arguments, monkeypatch) == 2
    printed = capfd.readouterr().err.strip()
    assert folder in printed
    assert "cannot be written" in printed
    assert "\n" not in printed
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_an_epoch_without_evaluation_shows_what_training_measured(capsys):
    say = single_run._printer(2, ["eval/exact_match"])
    say(1, {"train/loss": 1.25, "train/token_accuracy": 0.5, "optimizer/lr": 1e-3})
    say(2, {"train/loss": 1.0, "train/token_accuracy": 0.6, "eval/exact_match": 0.25})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/2  train loss 1.25  train token accuracy 50.0 %",
        "epoch 2/2  exact match 25.0 %",
    ]


def test_the_time_left_is_known_to_a_run_that_continues(capsys, monkeypatch):
    clock = iter([100.0, 103.0])
    monkeypatch.setattr(single_run.time, "monotonic", lambda: next(clock))
    say = single_run._printer(20, ["loss"])
    say(8, {"loss": 1.0})
    say(9, {"loss": 0.5})
    assert capsys.readouterr().out.splitlines() == [
        "epoch 8/20  loss 1",
        "epoch 9/20  loss 0.5  33 s left",
    ]


@pytest.mark.parametrize(
    ("again", "words"),
    [
        pytest.param(["lr=1e-3"], "that run is complete, see multirun", id="the same once more"),
        pytest.param(["lr=1e-2"], "that run has lr=0.001, not 0.01; use its", id="another recipe"),
        pytest.param(["lr=1e-3", "trainer.ema=0.9"], "trainer.ema=null, not 0.9", id="was null"),
    ],
)
def test_a_run_of_that_name_is_kept(again, words, monkeypatch, capfd, tmp_path):
    small = ["trainer=smoke", "tracking=off", "study.name=mine", "hidden_dim=16"]
    small += ["data.num_puzzles=8", "data.num_eval_puzzles=8", "model.num_heads=2"]
    first = [sys.executable, "-m", "hrm_sweep", *small, "lr=1e-3"]
    subprocess.run(first, check=True, cwd=tmp_path, capture_output=True)
    kept = {path: path.read_bytes() for path in (tmp_path / "multirun").rglob("*.*")}
    assert run([*small, *again], monkeypatch) == 2
    assert words in capfd.readouterr().err
    assert kept == {path: path.read_bytes() for path in (tmp_path / "multirun").rglob("*.*")}


def test_a_key_that_nothing_reads_is_named_once_whatever_number_of_points(monkeypatch, capfd):
    typed = ["hrm-sweep", "-m", "+epoch=1,2", "lr=1e-3,2e-3", "study.dry_run=true"]
    monkeypatch.setattr(sys, "argv", typed)
    cli.main()
    assert capfd.readouterr().out.count("epoch: nothing reads this key; did you mean epochs?") == 1
