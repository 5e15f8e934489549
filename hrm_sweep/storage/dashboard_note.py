"""The note of a study in Optuna's dashboard.

Written in the dashboard's own format, since importing it takes a second.
"""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage

from hrm_sweep.compat.optuna import study_id

MARK = "**hrm_sweep:** "
_VERSION, _TEXT = "dashboard:note_ver", "dashboard:note_str:"
_LENGTH = 2045
"""Most letters of one attribute."""


def write_note(storage: BaseStorage, study: optuna.Study, text: str) -> None:
    """Write a text as the first line of a study's note; a note that the user began stays as it is.

    Args:
        text: one line of Markdown.
    """
    kept = storage.get_study_system_attrs(study_id(study))
    note = str(kept.get(f"{_TEXT}0", ""))
    first, _, rest = note.partition("\n")
    new = "\n".join(filter(None, [f"{MARK}{text}", rest]))
    is_ours = not note or first.startswith(MARK)
    if not is_ours or kept.get(f"{_TEXT}1") or new == note or len(new) > _LENGTH:
        return
    storage.set_study_system_attr(study_id(study), _VERSION, int(kept.get(_VERSION, 0)) + 1)
    storage.set_study_system_attr(study_id(study), f"{_TEXT}0", new)
