"""What the site has beside docs/: pages from elsewhere in the repository, and generated references.

Links are written as the repository needs them. The site translates those that leave docs/, and
shows the text alone of links to files that it does not have.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

import notebook_page
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#:]+)(#[^)\s]*)?\)")


def elsewhere() -> dict[str, str]:
    """Return the pages and pictures outside of docs/: path in the repository -> path in docs/."""
    found = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
    for path in sorted((ROOT / "tests" / "benchmarks").iterdir()):
        if path.suffix in (".md", ".png"):
            name = "index.md" if path.name == "README.md" else path.name
            found[path.relative_to(ROOT).as_posix()] = f"benchmarks/{name}"
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/."""
    for source, place in elsewhere().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "api.md", content=reference.python()))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = notebook_page.markdown(notebook.content_string)
        files.append(File.generated(config, _markdown(notebook.src_uri), content=page))
    return files


def _markdown(path: str) -> str:
    return path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put references where a page asks for them, and translate its links."""
    if reference.COMMANDS_MARK in markdown:
        markdown = markdown.replace(reference.COMMANDS_MARK, reference.commands())
    in_site = {**elsewhere(), "README.md": "index.md"}
    in_repository = {place: source for source, place in in_site.items() if place != "index.md"}
    here = page.file.src_uri
    source_folder = posixpath.dirname(in_repository.get(here, f"docs/{here}"))

    def translated(link: re.Match[str]) -> str:
        text, target, anchor = link.groups(default="")
        path = posixpath.normpath(posixpath.join(source_folder, target))
        place = in_site.get(path, _markdown(path.removeprefix("docs/")))
        if files.get_file_from_path(place) is None and (ROOT / path).exists():
            return text.strip("[]")
        return f"{text}({os.path.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(translated, markdown)
