"""The browser of the user at this machine, for the pages that are served here."""

from __future__ import annotations

import os
import sys
import webbrowser

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def browse(address: str) -> None:
    """Open a page in the browser, where there is one with windows.

    On a machine without a display the standard library would start a browser in this terminal.
    """
    has_windows = sys.platform == "darwin" or any(map(os.environ.get, DISPLAYS))
    if os.environ.get("BROWSER") or (has_windows and sys.stdout.isatty()):
        webbrowser.open(address)
