"""The app whose runs the engine tracks: all that the engine knows about it, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import DictConfig

from hrm_sweep.formatting import MetricFormat
from hrm_sweep.runs.own_keys import in_own_keys
from hrm_sweep.system import process, shell

if TYPE_CHECKING:
    from hrm_sweep.runs.handle import RunHandle

MODELS = (
    *("*.pth", "*.pth.sha256", "*.pt", "*.ckpt", "*.safetensors"),
    *("checkpoint-*/*",),  # Hugging Face's, with optimizer and scheduler
)
"""Files of models, and checkpoints, as frameworks name them."""
FinalTags = Callable[["RunHandle"], Mapping[str, str]]
"""Returns tags of a run, which are written when it ends."""


@dataclass(frozen=True, kw_only=True)
class App:
    """What an app hands in to the engine, and the `started` entry of a record keeps.

    The defaults fit any Hydra app. An app that knows more about its metrics hands in more.
    """

    name: str
    command: tuple[str, ...]
    """What starts it, without arguments: `("python", "app.py")`."""
    flags: tuple[str, ...] = ()
    """Hydra's flags that say where its configs are: `("--config-dir", "/home/me/conf")`."""
    folder: str = ""
    """The working folder in which it was started; empty: not known."""
    once: tuple[str, ...] = ()
    """Overrides with which it runs once, where its own config makes it run a study."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of `hydra.sweeper` and `hydra.launcher` -> the key that its config reads there."""
    ignored_keys: tuple[str, ...] = ()
    """Top-level config keys that cannot change a result."""
    code_keys: tuple[str, ...] = ()
    """Keys of its own whose values are run or imported; beginnings of keys."""
    has_commands: bool = False
    """Whether its command line also offers the engine's commands, such as `resume`."""
    shares: tuple[str, ...] = ()
    """Metrics between 0 and 1 to show as per cent; `*` stands for any text."""
    proportions: tuple[str, ...] = ()
    """Metrics that are the share of held-out examples solved, which a binomial test can judge."""
    curves: tuple[str, ...] = ()
    """Metrics whose curves come first when a run is shown."""
    pictures: str | None = None
    """Dotted path of a function that draws the pictures of a run folder and returns their names."""
    models: tuple[str, ...] = MODELS
    """Files of a run folder, as patterns, that hold a model or a checkpoint; no result needs them
    once the run has ended."""
    replaces_models: bool = False
    """It replaces those files by renaming and never rewrites them, so that MLflow may link them."""

    uses_mlflow: bool = True
    """Whether its task may call MLflow itself, so that trials wait for a database that is new."""

    @classmethod
    def of_command(cls, command: Sequence[str]) -> App:
        """Return the description of an app of which only its command is known."""
        return cls(name=Path(command[-1]).name, command=tuple(command))

    def shell_command(self, *arguments: str) -> str:
        """Return a shell line that starts it with these arguments, in its own working folder."""
        return shell.join([*self.command, *self.flags, *arguments])

    def from_here(self, line: str) -> str:
        """Return a line of `shell_command` that also works where the user's shell is."""
        is_elsewhere = self.folder and Path(self.folder) != process.typed_in()
        if is_elsewhere and Path(self.folder).is_dir():
            return f"cd {shell.quote(self.folder)} && {line}"
        return line

    def moved(self, before: str, now: Path) -> App:
        """Return the app in the folder that is related to `now` as its own was to `before`.

        A project that was moved or copied as a whole is run where it is.

        Args:
            before: absolute path of a folder of results.
            now: the same folder today.
        """
        if not (self.folder and Path(before).is_relative_to(self.folder)):
            return self
        inner, parts = Path(before).relative_to(self.folder).parts, now.absolute().parts
        if not inner or parts[-len(inner) :] != inner:
            return self
        return replace(self, folder=str(Path(*parts[: -len(inner)])))

    def in_own_keys(self, text: str) -> str:
        """Return a message with the app's own keys in the place of Hydra's."""
        return in_own_keys(text, self.keys)

    @classmethod
    def of_record(cls, started: Mapping[str, Any]) -> App:
        """Return the app that the `started` entry of a run or study names."""
        if "app" not in started:
            return _of_old_record(started)
        known = {each.name for each in fields(cls)}
        given = {name: value for name, value in started["app"].items() if name in known}
        return cls(**{name: _frozen(value) for name, value in given.items()})

    def to_record(self) -> dict[str, Any]:
        """Return the app as the JSON object that a record keeps."""
        return {name: _thawed(value) for name, value in asdict(self).items()}

    @property
    def metrics(self) -> MetricFormat:
        """How values of its metrics are formatted."""
        return MetricFormat(self.shares)

    def is_proportion(self, metric: str) -> bool:
        """Return whether a metric is a share of held-out examples."""
        return any(fnmatchcase(metric, pattern) for pattern in self.proportions)


class Runner(Protocol):
    """How an app trains in this process, for commands that run a recorded recipe again."""

    def compose(self, overrides: list[str]) -> DictConfig:
        """Return the config of a single run with these overrides."""

    def flat(self, config: DictConfig) -> dict[str, Any]:
        """Return a composed config as flat keys, resolved, without Hydra's own."""

    def run(
        self,
        tags: Mapping[str, str] | None = None,
        *,
        last_step: int | None = None,
        final_tags: FinalTags | None = None,
    ) -> None:
        """Run what the arguments of the process ask for.

        Args:
            tags: of the run, besides its own.
            last_step: the step after which a single run stops; None runs it to its end.
            final_tags: returns further tags of a single run when it ends.
        """


_registered: dict[str, App] = {}
_runners: dict[str, Runner] = {}


def register(app: App, runner: Runner | None = None) -> None:
    """Make an app known to this process, by its name.

    A record may come from another user, so a function that it names is called only if this process
    runs the app and was handed the same function.
    """
    _registered[app.name] = app
    if runner is not None:
        _runners[app.name] = runner


def runner_of(app: App) -> Runner | None:
    """Return how to train an app in this process; None if its own command line has to do that."""
    return _runners.get(app.name)


def registered(name: str) -> App | None:
    """Return the app of that name, if this process runs it."""
    return _registered.get(name)


def trusted_pictures(app: App) -> str | None:
    """Return the function that draws an app's pictures, if this process runs that app."""
    known = registered(app.name)
    return known.pictures if known else None


def _of_old_record(started: Mapping[str, Any]) -> App:
    """Return the app of a record before there was an `app` in it.

    Such a record has at most the ignored keys (`aside`); only the app that came with the engine
    has the parameter `trainer.epochs`.
    """
    ignored = tuple(started.get("aside", ("study", "tracking")))
    is_shipped = "study" in ignored and (
        "trainer.epochs" in started.get("params", {}) or started.get("kind") == "study"
    )
    if is_shipped and (shipped := registered("hrm_sweep")):
        return shipped
    command = str(started.get("description", "")).split(" -m ")[0].split()[:2]
    return App(name="", command=tuple(command), ignored_keys=ignored, has_commands=is_shipped)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
