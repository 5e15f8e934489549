"""What a run is called: in a sentence, and in a command."""

from __future__ import annotations

from hrm_sweep.runs import layout
from hrm_sweep.runs.find import study_in
from hrm_sweep.runs.run import Run
from hrm_sweep.runs.study import Study


def label(run: Run) -> str:
    """Return `Run my-run`, `Trial 3 of my-study` or `Trial 3 of my-study, repeat 0`."""
    if run.number is None:
        return f"Run {run.folder.name}"
    trial = f"Trial {run.number} of {run.study_name}"
    return trial if run.repeat is None else f"{trial}, repeat {run.repeat}"


def reference(run: Run) -> str:
    """Return what names a run in a command: NAME, STUDY/TRIAL[/REPEAT], or its folder."""
    if run.number is None:
        name = run.folder.name
        is_found = run.folder == layout.SINGLE_RUNS / name
        is_study = (layout.MULTIRUN / name / layout.RECORD).exists()
        return name if is_found and not is_study else str(run.folder)
    if (study := study_around(run)) is None:
        return str(run.folder)
    numbers = [str(number) for number in (run.number, run.repeat) if number is not None]
    return "/".join([study.reference, *numbers])


def study_around(run: Run) -> Study | None:
    """Return the study whose folder a trial or a repeat is in; None: it is in that of no study."""
    if run.number is None:
        return None
    parents = [*run.folder.parents, *run.folder.absolute().parents]
    return next(filter(None, map(study_in, parents)), None)
