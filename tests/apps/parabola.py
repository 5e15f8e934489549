"""An app with nothing of HRM in it: the minimum of a parabola, in ten steps."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial
from hrm_sweep.system import files


class Late(float):
    """The first of them is on its way to the sweep until its process is killed."""

    def __reduce__(self) -> Any:
        if is_first(Path("returning")):
            wait_for(Path("never"))  # or for Ctrl-C
            files.write_text(Path("stopping"), "")
            time.sleep(600)
        return float, (float(self),)


def is_first(mark: Path) -> bool:
    """Whether this process is the first of all that come; then the mark has its number."""
    own = mark.with_suffix(f".{os.getpid()}")
    own.write_text(str(os.getpid()))
    try:
        mark.hardlink_to(own)
    except FileExistsError:
        return False
    return True


def wait_for(path: Path) -> None:
    """Until that file is there, or the study is asked to stop."""
    while not (path.exists() or trial.stop_requested()):
        time.sleep(0.02)


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> Any:
    handle = trial.current()
    handle.set_num_steps(10)
    if kept := cfg.get("kept"):  # what it writes outlives its folder on a node
        Path(kept, f"{handle.folder.name}-{os.getpid()}").hardlink_to(
            handle.folder / "record.jsonl"
        )
    if warm_up := cfg.get("warm_up"):
        handle.set_status("warms up")
        wait_for(Path(warm_up))
    checkpoint, interval = handle.folder / "checkpoint", cfg.get("checkpoint_every")
    last = min(int(checkpoint.read_text()) if checkpoint.exists() else 0, handle.last_step)
    for step in range(last + 1, 11):
        handle.log({"objective": (cfg.x - 2) ** 2 + 1 / step}, step=step)
        time.sleep(cfg.get("pause", 0))
        if step == 2 and (awaited := cfg.get("awaited", {}).get(cfg.x)):
            wait_for(Path(awaited))
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
        case "pair":
            return 1.0, 2.0
        case "interrupt":
            raise KeyboardInterrupt
        case "real-time signal":
            os.kill(os.getpid(), 40)
    assert "torch" not in sys.modules
    height = float((cfg.x - 2) ** 2 + cfg.get("noise", 0) * cfg.get("seed", 0))
    match cfg.get("returns", "number"):
        case "late":
            return Late(height)
        case "tuple":
            return height, abs(cfg.x)
        case "dict":
            return {"size": abs(cfg.x), "objective": height}
    return height


if __name__ == "__main__":
    main()
