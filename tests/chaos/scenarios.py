"""Scenarios: which app a study trains, which database has its trials, where its metrics go."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import TESTS

CHECKPOINTS_OFTEN = Path(__file__).parent / "preloaded"
TRAINING = (
    *("trainer=smoke", "hidden_dim=32", "epochs=4", "trainer.epochs=4"),
    *("data.num_puzzles=16", "data.num_eval_puzzles=8", "seed=0,1", "lr=1e-3,3e-3"),
    "hydra.launcher.preload=[hrm_sweep.hrm.train,checkpoints_often]",
)


@dataclass(frozen=True)
class Scenario:
    """Kind of study.

    Attributes:
        app: "parabola", an app with nothing of ours in it, or "hrm", the shipped one.
        storage: "sqlite" or "postgresql".
        tracking: "off", "sqlite" (MLflow's file database) or "server" (a real MLflow server).
        launcher: "pool", or "ray": two nodes that do not see the study's folder.
    """

    app: str
    storage: str
    tracking: str
    launcher: str = "pool"

    def __str__(self) -> str:
        place = "" if self.launcher == "pool" else f", {self.launcher}"
        return f"{self.app}, {self.storage}, {self.tracking}{place}"

    @property
    def num_trials(self) -> int:
        """Number of trials of the whole study."""
        return 4 if self.app == "hrm" else 8

    def command(self, tracking_uri: str, experiment: str, address: str = "") -> list[str]:
        """Return the command that runs or continues the study in `multirun/study`.

        Args:
            address: of the Ray cluster, if the launcher is that.
        """
        flags = ["-m", "hydra.sweep.dir=multirun/study", "hydra.launcher.workers=2"]
        if address:
            flags.append(f"hydra.launcher.address={address}")
        study, tracking, name = "hydra.sweeper", "hydra.sweeper.tracking", "study_name"
        if self.app == "hrm":
            program = [sys.executable, "-m", "hrm_sweep"]
            flags += TRAINING
            study, tracking, name = "study", "tracking", "name"
        else:
            program = [sys.executable, str(TESTS / "apps" / "parabola.py")]
            flags += ["hydra/sweeper=hrm_sweep", f"hydra/launcher={self.launcher}"]
            flags += [f"+x=range(0,{self.num_trials})", "+pause=0.05", "+checkpoint_every=3"]
        settings = [f"{study}.{name}=study", f"{study}.max_attempts=1000"]
        if self.tracking == "off":
            settings.append(f"{tracking}=off" if self.app == "hrm" else f"{tracking}.name=off")
        else:
            settings += [f"{tracking}.uri={tracking_uri}", f"{tracking}.experiment={experiment}"]
        return [*program, *flags, *settings]


def choose(chance: random.Random, **fixed: Any) -> Scenario:
    """Return a scenario; the foreign app is eight times as frequent, as its studies are short."""
    drawn = {
        "app": chance.choice(["parabola"] * 8 + ["hrm"]),
        "storage": chance.choice(["sqlite", "sqlite", "postgresql"]),
        "tracking": chance.choice(["off", "sqlite", "sqlite", "server"]),
    }
    if drawn["app"] == "hrm":  # what differs is the app; each new kind needs its reference
        drawn |= {"storage": "sqlite", "tracking": chance.choice(["off", "sqlite"])}
    return Scenario(**(drawn | fixed))
