"""Words quoted for a shell, as a user would type them.

`shlex` leaves `'lr='"'"'a b'"'"''` of an override with quotes; here it is `"lr='a b'"`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_SPECIAL = re.compile(r'["$`\\!]')
"""What a shell reads within double quotes."""


def quote(word: str) -> str:
    """Return a word as a shell reads it back."""
    if "'" in word and not _SPECIAL.search(word):
        return f'"{word}"'
    return shlex.quote(word)


def join(words: Iterable[str]) -> str:
    """Return the line of a shell that has these words."""
    return " ".join(map(quote, words))
