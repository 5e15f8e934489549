"""An app of another user, all of whose texts are meant for the reader's terminal and browser."""

import hydra
from omegaconf import DictConfig

from hrm_sweep import trial

TEXT = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e<script>alert(1)</script>[here](http://evil)`$\\frac$"


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    handle = trial.current()
    handle.set_status(TEXT)
    handle.set_tags(note=TEXT)
    handle.log_dataset(name=TEXT, train_size=1, eval_size=1, digest=TEXT)
    handle.log({"objective": cfg.x, TEXT: 1.0}, step=1)
    print(TEXT, flush=True)
    if cfg.x == 2:
        raise ValueError(TEXT)
    return float(cfg.x)


if __name__ == "__main__":
    main()
