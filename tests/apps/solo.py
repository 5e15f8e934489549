"""A parabola whose single runs keep a record, too: an app with a command line of its own."""

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial
from hrm_sweep.launch.job import Job
from hrm_sweep.runs.app import App

APP = App(name="solo.py", command=("python", "solo.py"), ignored_keys=("tracking",))


def parabola(cfg: DictConfig) -> dict[str, float]:
    """Log ten steps, the last of which counts; with `+bad=true`, a value that is no number."""
    values = {}
    for step in range(1, 11):
        values = {"height": (cfg.x - 2) ** 2 + 1 / step, "slope": 2.0 * (cfg.x - 2)}
        if cfg.get("bad"):
            values["slope"] = float("nan")
        trial.current().log(values, step=step)
    return values


if __name__ == "__main__":
    hydra.main(version_base=None, config_path=None)(Job(parabola, APP, values=["height"]))()
