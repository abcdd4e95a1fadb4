"""Writes what the pages take from the code: ``python docs/generate.py``. ``make docs`` runs it.

A test fails if the committed pages are not what this writes.
"""

from __future__ import annotations

import re
from pathlib import Path

from evidence_tables import evidence_tables

from flask_fernet.settings import SETTINGS

ROOT = Path(__file__).parents[1]
#: The address of the site, for the README, which is read elsewhere too.
SITE = "https://flask-fernet.readthedocs.io/en/stable/"


def settings_page() -> str:
    """The reference of settings."""
    lines = [
        "# Settings",
        "",
        "<!-- Written by docs/generate.py from python/flask_fernet/settings.py. -->",
        "",
        "Flask's own `SESSION_*` settings keep their meaning. So do `SECRET_KEY`,",
        "`SECRET_KEY_FALLBACKS`, `MAX_COOKIE_SIZE` and `PERMANENT_SESSION_LIFETIME`, the idle",
        "lifetime, which the server checks against the time inside the token. These are added:",
        "",
        "| setting | default | what it does |",
        "|---|---|---|",
    ]
    for name, setting in SETTINGS.items():
        anchor = name.lower()
        lines.append(f"| [`{name}`](#{anchor}) | {_default(setting.default)} | {setting.summary} |")
    lines += [
        "",
        "A setting that cannot be used raises `ConfigurationError`, when the app starts if it",
        "calls `init_app`, otherwise at the first request. The error names the setting and its",
        "valid values, and never shows a value. An unknown name that begins with",
        "`SESSION_ENCRYPTION_` is an error too.",
        "Settings may be changed while an app runs; the next request follows.",
    ]
    for name, setting in SETTINGS.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"{setting.summary[0].upper()}{setting.summary[1:]}.",
            "",
            f"* Default: {_default(setting.default)}",
            f"* Values: {setting.values}",
            f"* More: [{_title(setting.more)}]({setting.more})",
        ]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """The README's table of settings."""
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for name, setting in SETTINGS.items():
        link = f"{SITE}settings/#{name.lower()}"
        rows.append(f"| [`{name}`]({link}) | {_default(setting.default)} | {setting.summary} |")
    return "\n".join(rows)


def _default(default: str | None) -> str:
    return "not set" if default is None else f"`{default}`"


def _title(link: str) -> str:
    """The heading to which a link leads."""
    name, _, anchor = link.partition("#")
    for heading in re.findall(r"^#+ (.*)$", (ROOT / "docs" / name).read_text(), re.MULTILINE):
        if not anchor or slug(heading) == anchor:
            return str(heading)
    raise ValueError(f"{link} leads nowhere")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def readme(text: str) -> str:
    """The README with its table of settings."""
    return re.sub(
        r"(<!-- settings -->\n\n).*?(\n\n<!-- settings: end -->)",
        lambda found: found.group(1) + settings_table() + found.group(2),
        text,
        flags=re.DOTALL,
    )


def evidence(text: str) -> str:
    """The page of evidence with the tables of the runs that were recorded."""
    for name, table in evidence_tables().items():
        begin, end = f"<!-- {name} -->\n\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n".join(table) + "\n\n" + end + rest.partition(end)[2]
    return text


def main() -> None:
    """Writes the pages."""
    page = ROOT / "docs" / "evidence.md"
    page.write_text(evidence(page.read_text()))
    (ROOT / "docs" / "settings.md").write_text(settings_page())
    page = ROOT / "README.md"
    page.write_text(readme(page.read_text()))


if __name__ == "__main__":
    main()
