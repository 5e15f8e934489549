"""An app that keeps weights of some size, and goes on with them; its first attempt waits.

The trial reports as it waits, so that it can be stopped.
"""

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    handle = trial.current()
    weights = handle.folder / "weights.pth"
    first = int(weights.read_text()) + 1 if weights.exists() else 1
    print(f"begins with step {first}", flush=True)
    for step in range(first, 5):
        handle.log({"objective": cfg.x / step}, step=step)
        weights.write_text(str(step).rjust(20_000))
        while cfg.get("waits") and first == 1 and step == 2 and not Path("/never").exists():
            handle.log({"waiting": 1.0}, step=2)
            time.sleep(0.02)
    return float(cfg.x)


if __name__ == "__main__":
    main()
