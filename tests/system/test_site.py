"""Looks at the site, as `make docs` makes it, in Debian's Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.servers import unavailable

SITE = Path(__file__).parents[2] / ".cache" / "docs"
#: WCAG 2.2, success criterion 1.4.3: the contrast of text.
CONTRAST = 4.5
#: The least contrast of a page's paragraphs, cells and code with what is behind them.
LEAST_CONTRAST = """() => {
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(one => {
            const part = one / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    let least = 21;
    for (const one of document.querySelectorAll("main p, main td, main pre, main code, p, td")) {
        const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
        least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
    }
    return least;
}"""

#: The words and numbers of tables, code excepted, that begin on one line and end on another.
BROKEN_WORDS = """() => {
    const broken = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (!text.parentElement.closest("table p") || text.parentElement.closest("code")) continue;
        for (const word of text.data.matchAll(/[\\p{L}\\d,.]+/gu)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(one => one.top)).size > 1)
                broken.push(word[0]);
        }
    }
    return broken;
}"""


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    found = sorted(SITE.glob("*/index.html"))
    if not found:
        unavailable("run make docs first: there is no site")
    return [SITE / "index.html", *found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_of_the_site_fits_and_can_be_read(
    chromium: Browser, pages: list[Path], width: int, scheme: str
) -> None:
    assert len(pages) >= 20
    with chromium.new_context(
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    ) as context:
        page = context.new_page()
        for path in pages:
            page.goto(path.as_uri())
            name = path.relative_to(SITE)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert page.evaluate(LEAST_CONTRAST) >= CONTRAST, name
            assert page.evaluate(BROKEN_WORDS) == [], name
