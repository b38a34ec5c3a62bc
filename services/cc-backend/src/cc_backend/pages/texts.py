"""Pages that a site writes itself: imprint and privacy, Markdown or HTML beside the database (web-ui 2.4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markupsafe import Markup

MAX_TEXT: Final = 1 << 20
PAGES: Final = {
    "imprint": (
        "Imprint",
        "The operator of this site has not written an imprint yet. Questions go to the support of the computing centre.",
    ),
    "privacy": (
        "Privacy",
        "The operator of this site has not written a privacy notice yet. What is stored: jobs with their users and projects, metrics of "
        "the nodes, accounts, and settings. One cookie keeps you logged in; there are no others, and nothing is sent to third parties.",
    ),
}


class SiteText(NamedTuple):
    """own: written by the site."""

    title: str
    body: Markup
    own: bool


def load_texts(folder: Path, warn: Callable[[str], None]) -> dict[str, SiteText]:
    """By page name, read once at start: `<name>.md` goes before `<name>.html`; a file that cannot be used is warned about."""
    return {name: _load(folder, name, title, neutral, warn) for name, (title, neutral) in PAGES.items()}


def _load(folder: Path, name: str, title: str, neutral: str, warn: Callable[[str], None]) -> SiteText:
    if (folder / f"{name}.tmpl").exists():
        warn(
            f"{folder / name}.tmpl is not used: Go templates are not executed here; write the text into {name}.md or {name}.html beside it"
        )
    for suffix, render in ((".md", markdown), (".html", Markup)):
        path = folder / f"{name}{suffix}"
        try:
            if path.stat().st_size > MAX_TEXT:
                warn(f"{path} is larger than {MAX_TEXT} bytes and is not used")
                continue
            return SiteText(title, render(path.read_text(encoding="utf-8")), own=True)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as e:
            warn(f"{path} cannot be read and is not used: {e}")
    return SiteText(title, Markup("<p>{}</p>").format(neutral), own=False)


def markdown(text: str) -> Markup:
    """HTML inside Markdown is shown as text."""
    return Markup(MarkdownIt("js-default").render(text))  # noqa: S704 - made by the renderer, which escapes
