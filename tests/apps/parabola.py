"""An app with nothing of HRM in it: the minimum of a parabola, in ten steps."""

import os
import signal
import sys
import time
from typing import Any

import hydra
from omegaconf import DictConfig

from hrm_sweep import files, trial


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> Any:
    handle = trial.current()
    handle.expect(10)
    if warm_up := cfg.get("warm_up"):
        handle.doing("warms up")
        time.sleep(warm_up)
    checkpoint, interval = handle.folder / "checkpoint", cfg.get("checkpoint_every")
    last = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(last + 1, 11):
        handle.log({"objective": (cfg.x - 2) ** 2 + 1 / step}, step=step)
        time.sleep(cfg.get("pause", 0))
        if interval:
            print(f"step {step}", flush=True)
            if step % interval == 0:
                files.write_text(checkpoint, str(step))
    match cfg.get("end", "well"):
        case "raise":
            raise ValueError("this one\nraises")
        case "exit":
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "diverge":
            return float("nan")
        case "nothing":
            return None
    assert "torch" not in sys.modules
    height = float((cfg.x - 2) ** 2 + cfg.get("noise", 0) * cfg.get("seed", 0))
    match cfg.get("returns", "number"):
        case "tuple":
            return height, abs(cfg.x)
        case "dict":
            return {"size": abs(cfg.x), "objective": height}
    return height


if __name__ == "__main__":
    main()
