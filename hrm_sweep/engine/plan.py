"""Plan of a sweep: what is searched and judged, and which trials of the study are left."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from hrm_sweep.engine.checks import check_sweep
from hrm_sweep.engine.damage import as_waiting, undone_trials
from hrm_sweep.engine.identity import check_identity, check_renamed, recorded_study
from hrm_sweep.engine.plugin_config import SweeperConfig
from hrm_sweep.engine.rebuild import lacking_trials
from hrm_sweep.engine.resuming import check_resume
from hrm_sweep.engine.run_again import trials_to_run_again
from hrm_sweep.engine.shared_settings import Compose, SharedSettings
from hrm_sweep.engine.study_dir import StudyDir
from hrm_sweep.engine.study_recipe import check_recipe, directions_of, recipe_of
from hrm_sweep.engine.trial_queue import enqueued_trials, num_to_run
from hrm_sweep.errors import ConfigError
from hrm_sweep.runs.app import App
from hrm_sweep.runs.study import reference
from hrm_sweep.search.budget import Budget
from hrm_sweep.search.custom import CustomSpace
from hrm_sweep.search.enqueued import parse_enqueued
from hrm_sweep.search.objectives import parse_objectives
from hrm_sweep.search.params import param_overrides
from hrm_sweep.search.parsing import check_once, ends_left_out, parse_space
from hrm_sweep.search.pruners import make_pruner
from hrm_sweep.system import names


class Plan:
    """What a sweep was asked for, beside what its study has already.

    Args:
        config: `hydra.sweeper` of the sweep.
        app: whose trials are run.
        known: the study in Optuna, if it is there.
        hydra_config: of the whole command.
        loader: Hydra's, for the grammar of overrides.
        compose: makes the config of a trial's job from its overrides.
        arguments: the task overrides, swept ones among them.

    Attributes:
        name: of the study.
        dir: its folder.
        is_resumed: whether it was there before.
        objectives, space, budget: how trials are judged, what is searched, how many are run.
        recipe: what may not change when the study is resumed.
        pruner: Optuna's, by which running trials are judged; None: they are not.
        trials: of the study so far, as they will be when it is open.
        num_to_run: how many have yet to end.

    Raises:
        InputError: something cannot be used.
    """

    def __init__(
        self,
        config: SweeperConfig,
        app: App,
        known: optuna.Study | None,
        *,
        hydra_config: DictConfig,
        loader: ConfigLoader,
        compose: Compose,
        arguments: list[str],
    ) -> None:
        self._config, self._known, self._compose = config, known, compose
        self._shared = SharedSettings(hydra_config)
        self.name = config.study_name or names.new_name()
        self.dir = StudyDir(hydra_config, compose)
        directions = directions_of(config, known)
        self.objectives = parse_objectives(
            config.objective, directions, config.constraints, tie_breaker=config.tie_breaker
        )
        self.pruner = make_pruner(config.pruner, self.objectives, repeats=config.repeats)
        self._parse(OverridesParser.create(config_loader=loader), arguments)
        custom = CustomSpace.load(config.custom_search_space, hydra_config)
        self.space = parse_space([*self._all_params, *self._typed.values()], custom)
        self.recipe = recipe_of(
            self.space, self.objectives, repeats=config.repeats, ignored_keys=app.ignored_keys
        )
        check_renamed(self.dir.path)
        self._recorded = recorded_study(self.dir.path, self.name)
        self.is_resumed = known is not None or self._recorded is not None
        check_resume(config, reference=self.reference, exists=self.is_resumed)
        if known is None and self._recorded is not None:
            check_recipe(self.name, self._recorded.recipe, self.recipe)
        self.budget = Budget(
            self.space, config.n_trials, parse_enqueued(config.enqueue, self.space)
        )
        self._warned: list[str] = []
        self.trials = self._trials()
        self.num_to_run = num_to_run(self.budget, self.trials)

    @property
    def reference(self) -> str:
        """What names the study in a command."""
        return reference(self.name, self.dir.path)

    def check(self) -> None:
        """Check all that can be wrong without a trial.

        Raises:
            InputError: something cannot be used; the message says what and why.
        """
        try:
            self._warned = check_sweep(
                self._config,
                self.budget,
                self.objectives,
                self.dir,
                self._known,
                self._compose,
                self._shared,
            )
        except ConfigError as error:
            if error.key not in self._params:
                raise
            raise error.below("hydra.sweeper.params") from None
        if self._known is not None and self._recorded is not None:
            check_identity(self._known, self._recorded, self._config.storage)

    def notes(self) -> Iterator[str]:
        """Yield what the app's check warns of, and what a new study takes for granted."""
        yield from self._warned
        if self.is_resumed:
            return
        if self._config.direction is None:
            for name in self.objectives.maximized:
                yield f"{name}: is maximized, by its name; hydra.sweeper.direction=minimize if not"
        typed = () if self.budget.is_grid else self._typed.values()
        yield from ends_left_out([*self._params.values(), *typed])

    def _parse(self, parser: OverridesParser, arguments: list[str]) -> None:
        """Read `params` and the arguments, which have precedence."""
        self._all_params = parser.parse_overrides(param_overrides(self._config.params))
        typed = parser.parse_overrides(arguments)
        check_once(typed)
        self._typed = {override.get_key_element(): override for override in typed}
        by_key = {override.get_key_element(): override for override in self._all_params}
        self._params = {key: by_key[key] for key in by_key if key not in self._typed}

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        known = self._known.get_trials(deepcopy=False) if self._known else []
        undone = undone_trials(known, self._recorded, self.objectives)
        undone += trials_to_run_again(known, self._config.run_again)
        lacking = lacking_trials(
            known,
            self._recorded,
            self.space,
            self.objectives,
            max_attempts=self._config.max_attempts,
        )
        trials = as_waiting(known, undone) + lacking
        return trials + enqueued_trials(self.budget, trials)
