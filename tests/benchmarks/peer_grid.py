"""Copy and increment with the plain HRM, as it is written for Hydra, its Optuna sweeper, the joblib
launcher and MLflow; what grid.py measures our study against."""

import random

import hydra
import mlflow
import torch
from omegaconf import DictConfig
from plain_hrm import IGNORE, PlainHRM, PlainTraining
from torch import Tensor

EPOCHS, PUZZLES, HELD_OUT, SIDE = 20, 64, 16, 6
PAD, EOS, COLOUR = 0, 1, 2


def puzzles(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels [count, 36] and identifiers [count]: 5x5 colours, end marks around them."""
    chance = torch.Generator().manual_seed(seed)
    grids = torch.randint(0, 10, (count, 5, 5), generator=chance)
    pattern = torch.arange(count) % 2
    answers = (grids + pattern.view(-1, 1, 1)) % 10
    return on_canvas(grids), on_canvas(answers, empty=IGNORE), pattern + 1


def on_canvas(grids: Tensor, empty: int = PAD) -> Tensor:
    canvas = torch.full((len(grids), SIDE, SIDE), EOS)
    canvas[:, 5, 5] = empty
    canvas[:, :5, :5] = grids + COLOUR
    return canvas.flatten(1)


@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = {
        **{"batch_size": cfg.batch_size, "hidden_size": cfg.hidden_dim, "seq_len": SIDE * SIDE},
        **{"vocab_size": 12, "num_puzzle_identifiers": 3, "puzzle_emb_ndim": cfg.hidden_dim},
        **{"num_heads": 4, "expansion": 4, "H_layers": 1, "L_layers": 1},
        **{"forward_dtype": "float32", "pos_encodings": "rope"},
        **{"H_cycles": 2, "L_cycles": 2, "halt_max_steps": 4, "halt_exploration_prob": 0.1},
    }
    model = PlainHRM(config, loss="stablemax")
    training = PlainTraining(model, lr=cfg.lr)
    inputs, labels, ids = puzzles(PUZZLES, seed=0)
    mlflow.set_tracking_uri("sqlite:///mlruns/mlflow.db")
    mlflow.set_experiment("peer")
    with mlflow.start_run():
        mlflow.log_params(dict(cfg))
        for epoch in range(1, EPOCHS + 1):
            order = list(range(PUZZLES))
            random.Random(epoch).shuffle(order)
            losses = [
                training.step(inputs[rows], ids[rows], labels[rows])
                for rows in torch.tensor(order).split(cfg.batch_size)
            ]
            mlflow.log_metric("train/loss", sum(losses) / len(losses), step=epoch)
        exact = exact_match(model, *puzzles(HELD_OUT, seed=1))
        mlflow.log_metric("eval/exact_match", exact, step=EPOCHS)
    return exact


@torch.no_grad()
def exact_match(model: PlainHRM, inputs: Tensor, labels: Tensor, ids: Tensor) -> float:
    model.eval()
    solved = 0
    size = model.config["batch_size"]
    for rows in torch.arange(len(inputs)).split(size):
        carry = model.initial_carry()
        for _ in range(model.config["halt_max_steps"]):
            carry, figures = model(carry, inputs[rows], ids[rows], labels[rows])
        right = (figures["logits"].argmax(dim=-1) == labels[rows]) | (labels[rows] == IGNORE)
        solved += int(right.all(dim=-1).sum())
    return solved / len(inputs)


if __name__ == "__main__":
    main()
