"""The commands of hrm_sweep, such as `python -m hrm_sweep resume my-study`; one module each.

`command` defines what a command is, `resolve` finds the study or run that the user named.
"""

from __future__ import annotations

from hrm_sweep.commands import (
    best,
    clean,
    compare,
    delete,
    export,
    init,
    listing,
    pages,
    rename,
    report,
    reproduce,
    resume,
    show,
    sync,
    tag,
    watch,
)
from hrm_sweep.commands.command import Command

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        resume.COMMAND,
        listing.COMMAND,
        best.COMMAND,
        show.COMMAND,
        watch.COMMAND,
        reproduce.COMMAND,
        report.COMMAND,
        compare.COMMAND,
        export.COMMAND,
        pages.UI,
        pages.DASHBOARD,
        sync.COMMAND,
        tag.TAG,
        tag.NOTE,
        tag.ARCHIVE,
        init.COMMAND,
        rename.COMMAND,
        clean.COMMAND,
        delete.COMMAND,
    )
}
