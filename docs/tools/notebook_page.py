"""An executed notebook as a page: its cells, and what they have shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def markdown(notebook: str) -> str:
    """Return a notebook, which is JSON, as Markdown; pictures are in the page itself."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            parts += _shown(output)
    return "\n\n".join(parts)


def _shown(output: Mapping[str, Any]) -> Iterator[str]:
    """Yield the best of the forms that a notebook keeps of an output: picture, HTML or text."""
    data = output.get("data", {})
    if picture := data.get("image/png"):
        yield f'<img alt="output" src="data:image/png;base64,{"".join(picture.split())}">'
    elif page := data.get("text/html"):
        yield f'<div class="output">{"".join(page)}</div>'
    elif text := "".join(data.get("text/plain", output.get("text", ()))).strip():
        yield f"```text\n{text}\n```"
