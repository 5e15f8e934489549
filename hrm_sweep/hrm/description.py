"""What the engine knows about this app."""

from hrm_sweep.runs.app import App

APP = App(
    name="hrm_sweep",
    command=("python", "-m", "hrm_sweep"),
    ignored_keys=("study", "tracking"),
    code_keys=("study.on_trial_end", "study.on_end"),
    has_commands=True,
    shares=tuple(
        f"*/{metric}{part}"
        for metric in (
            *("token_accuracy", "token_accuracy_per_puzzle", "exact_match"),
            *("exact_match_early", "exact_match_never"),
            *("mode_share", "padding_share_of_loss"),
        )
        for part in ("", "/*")
    ),
    proportions=("eval/exact_match",),
    curves=("train/loss", "eval/loss", "eval/token_accuracy", "eval/exact_match"),
    pictures="hrm_sweep.hrm.pictures.draw.draw",
    models=("*_model.pth", "checkpoint_?.pth", "*.pth.sha256"),
    replaces_models=True,
    uses_mlflow=False,
)
