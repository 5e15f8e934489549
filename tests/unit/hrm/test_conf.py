"""Everything in `conf/` composes and passes its own checks; the schema knows every key."""

import json
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from hrm_sweep.compat.hydra import VERSION_BASE
from hrm_sweep.errors import ConfigError
from hrm_sweep.hrm import app, config
from hrm_sweep.hrm.description import APP
from hrm_sweep.runs import recipe
from hrm_sweep.runs.configs import to_plain, to_yaml


@pytest.fixture(scope="module")
def puzzles_folder(tmp_path_factory) -> Path:
    """A folder with the one file of the published format that a config reads."""
    folder = tmp_path_factory.mktemp("puzzles")
    header = {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 4,
        "seq_len": 9,
        "num_puzzle_identifiers": 2,
        "total_groups": 1,
        "mean_puzzle_examples": 1.0,
        "sets": ["all"],
    }
    (folder / "test").mkdir()
    (folder / "test" / "dataset.json").write_text(json.dumps(header))
    return folder


@pytest.fixture(autouse=True, scope="module")
def _resolvers():
    config.register_resolvers()


def options() -> list[str]:
    """`group=option` for every YAML file below a folder of `conf/`."""
    files = [path.relative_to(config.CONF) for path in sorted(config.CONF.rglob("*.yaml"))]
    return [f"{path.parent}={path.stem}" for path in files if path.parent != Path()]


def compose(*overrides: str):
    with hydra.initialize_config_dir(str(config.CONF), **VERSION_BASE):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize("option", options())
def test_every_option_composes_and_passes_its_checks(option, puzzles_folder):
    needed = [f"data.path={puzzles_folder}"] if option == "data=puzzles" else []
    built = config.build(compose(option, *needed))
    group, _, name = option.partition("=")
    if group in ("model", "optimizer"):
        assert getattr(built, group).name == name


def test_root_keys_reach_their_groups():
    built = config.build(compose("lr=0.5", "hidden_dim=8", "batch_size=3", "epochs=2"))
    assert built.optimizer.lr == 0.5
    assert built.model.hidden_dim == 8
    assert built.data.batch_size == 3
    assert built.trainer.epochs == 2


@pytest.mark.parametrize(("typed", "epochs"), [((), 2), (("epochs=4",), 4)], ids=["own", "typed"])
def test_a_smoke_test_is_short_unless_epochs_are_typed(typed, epochs):
    built = config.build(compose("trainer=smoke", *typed))
    assert (built.root.epochs, built.trainer.epochs, built.trainer.precision) == (
        epochs,
        epochs,
        "fp32",
    )


def test_a_key_that_breaks_a_rule_has_the_name_a_person_types():
    with pytest.raises(ConfigError) as caught:
        config.build(compose("optimizer.lr=-1"))
    assert str(caught.value).startswith("optimizer.lr=-1: must be finite and above 0")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param(
            ["hydra/launcher=basic", "study.workers=3"],
            "study.workers=3: has no effect with hydra/launcher=basic; take hydra/launcher=pool",
            id="workers, basic",
        ),
        pytest.param(
            ["hydra/launcher=joblib", "study.workers=3"],
            "study.workers=3: has no effect with hydra/launcher=joblib; set hydra.launcher.n_jobs",
            id="workers, joblib",
        ),
        pytest.param(
            ["hydra/launcher=joblib", "study.trial_timeout=60"],
            "study.trial_timeout=60: has no effect with hydra/launcher=joblib; "
            "take hydra/launcher=pool",
            id="a trial's time",
        ),
        pytest.param(
            ["hydra/launcher=slurm", "study.workers=3"],
            "study.workers=3: has no effect with hydra/launcher=slurm; set hydra.launcher.max_jobs",
            id="workers, slurm",
        ),
        pytest.param(
            ["hydra/launcher=slurm", "study.trial_timeout=60"],
            "study.trial_timeout=60: has no effect with hydra/launcher=slurm; "
            "set hydra.launcher.timeout_min",
            id="a trial's time, slurm",
        ),
    ],
)
def test_what_only_the_pool_can_do_is_refused_with_other_launchers(overrides, words):
    with pytest.raises(ConfigError) as caught:
        config.check(app.compose(overrides))
    assert str(caught.value) == words


def test_the_pool_reads_the_keys_of_the_study_and_other_launchers_have_their_own():
    pool = app.compose(["study.workers=3", "study.trial_timeout=60"]).hydra.launcher
    assert (pool.workers, pool.threads, pool.timeout) == (3, 1, 60)
    assert set(app.compose(["hydra/launcher=basic"]).hydra.launcher) == {"_target_"}
    config.check(app.compose(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]))


def test_the_published_loader_needs_a_whole_batch():
    few = ("trainer.batches=published", "data.num_puzzles=3", "batch_size=8")
    with pytest.raises(ConfigError) as caught:
        config.build(compose(*few, "trainer.eval_every=2"))
    assert str(caught.value) == (
        "batch_size=8: makes no whole batch of the 6 examples between two evaluations, and "
        "trainer.batches=published drops an incomplete one; try batch_size=6, or a larger "
        "trainer.eval_every"
    )
    assert config.build(compose(*few, "trainer.eval_every=3")).trainer.batches == "published"


def test_frozen_weights_need_a_puzzle_embedding():
    with pytest.raises(ConfigError) as caught:
        config.build(compose("trainer.freeze_weights=true", "model.puzzle_emb_ndim=0"))
    assert str(caught.value) == (
        "trainer.freeze_weights=true: leaves nothing to train, as model.puzzle_emb_ndim=0; "
        "leave it out"
    )


def test_a_config_as_plain_values_is_what_omegaconf_makes_of_it():
    cfg = compose("experiment=seed_grid", "data=sudoku")
    assert to_plain(cfg) == OmegaConf.to_container(cfg, resolve=True)
    assert to_yaml(to_plain(cfg)) == OmegaConf.to_yaml(cfg, resolve=True)


def test_equal_recipes_have_equal_signatures_whatever_the_study():
    def signature(*overrides: str) -> str:
        tree = OmegaConf.to_container(compose(*overrides), resolve=True)
        return recipe.signature(recipe.flatten(tree), APP.ignored_keys)

    plain = signature()
    assert signature("lr=1e-3", "study.name=other", "tracking=off", "study.n_trials=3") == plain
    assert signature("optimizer.lr=0.001") == plain
    for change in ("lr=2e-3", "seed=1", "data.noise=0.1", "trainer.threads=2"):
        assert signature(change) != plain, change
