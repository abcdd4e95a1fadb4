"""Drives the demo in Debian's Chromium, as a visitor does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.ports import free_port
from tests.system.test_demo import server


@pytest.fixture(scope="module", params=["", "sqlite"], ids=["cookies", "stored"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the demo, with sessions in cookies and in a store."""
    instance: Path = tmp_path_factory.mktemp("demo") / "instance"
    port = free_port()
    with server(instance, port, request.param):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def is_stored(request: pytest.FixtureRequest) -> bool:
    return "stored" in request.node.name


@pytest.fixture
def context(chromium: Browser, demo: str) -> Iterator[BrowserContext]:
    """A browser of its own, with the demo's address."""
    with chromium.new_context(base_url=demo) as made:
        made.set_default_timeout(20_000)
        yield made


def log_in(context: BrowserContext, user: str = "ada") -> Page:
    page = context.new_page()
    page.goto("/")
    page.select_option("#username", user)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/cookie$"))
    return page


def cookie_of(context: BrowserContext) -> str:
    (cookie,) = [one for one in context.cookies() if one["name"] == "session"]
    return str(cookie["value"])


def back_to_now(page: Page) -> None:
    page.goto("/session")
    page.get_by_role("button", name="Back to now").click()


def test_a_visitor_sees_what_each_cookie_shows(context: BrowserContext) -> None:
    page = log_in(context)
    signed, ours = page.locator("#signed"), page.locator("#encrypted")
    expect(signed.locator("mark")).to_have_text(['"ada@example.org"', '"admin"'])
    expect(ours).not_to_contain_text("ada@example.org")
    expect(ours).to_contain_text(cookie_of(context).rstrip("=")[:40])
    expect(ours).to_contain_text("Issued")
    expect(signed).to_contain_text("characters")


def test_a_letter_of_either_cookie_is_changed_and_both_are_refused(
    context: BrowserContext,
) -> None:
    page = log_in(context)
    before = cookie_of(context)
    for position in ("0", "50", "99"):
        page.locator("#letter").fill(position)
        page.get_by_role("button", name="Change a letter").click()
        verdicts = page.locator(".verdict")
        expect(verdicts).to_have_count(2)
        expect(verdicts.nth(0)).to_contain_text("Refused")
        expect(verdicts.nth(1)).to_have_text(re.compile("Refused: (unauthentic|malformed)"))
    # The browser's own cookie goes on.
    page.goto("/session")
    expect(page.locator("#contents")).to_contain_text("ada@example.org")
    assert cookie_of(context) == before
    # And if it is changed in the browser, the app logs out.
    changed = before[:60] + ("A" if before[60] != "A" else "B") + before[61:]
    context.add_cookies([{"name": "session", "value": changed, "url": page.url}])
    page.goto("/session")
    expect(page).to_have_url(re.compile("/login$"))
    expect(page.locator(".flash").first).to_contain_text("refused: unauthentic")


def test_the_key_is_rotated_and_nobody_is_logged_out(context: BrowserContext) -> None:
    page = log_in(context)
    page.goto("/session")
    former, cookie = page.locator("#key").inner_text(), cookie_of(context)
    rows = page.locator("#keys tr").count()
    page.get_by_role("button", name="Rotate the key").click()
    expect(page.locator("#keys tr")).to_have_count(rows + 1)
    # The response before has moved the session to the new key.
    page.goto("/session")
    expect(page.locator("#contents")).to_contain_text("ada@example.org")
    expect(page.locator("#key")).not_to_have_text(former)
    assert cookie_of(context) != cookie


def test_format_and_compression_are_switched(context: BrowserContext) -> None:
    page = log_in(context)
    page.goto("/session")
    page.get_by_label("Keep notes").fill("500")
    page.get_by_role("button", name="Keep").click()
    lengths = {}
    for format_, compression in (
        ("xaes-256-gcm", "never"), ("xaes-256-gcm", "always"), ("fernet", "fit"),
    ):  # fmt: skip
        page.select_option("#format-choice", format_)
        page.select_option("#compression", compression)
        page.get_by_role("button", name="Use these").click()
        expect(page.locator("#format")).to_have_text(format_)
        expect(page.locator("#contents")).to_contain_text("ada@example.org")
        lengths[compression] = len(cookie_of(context))
    assert lengths["always"] <= lengths["never"] < lengths["fit"]


def test_a_session_ends_when_it_is_not_used(context: BrowserContext) -> None:
    page = log_in(context)
    page.goto("/session")
    page.get_by_role("button", name="Let 10 minutes pass").click()
    expect(page.locator("#age")).to_have_text(re.compile(r"^6\d\d seconds$"))
    page.get_by_role("button", name="Let an hour pass").click()
    expect(page).to_have_url(re.compile("/login$"))
    expect(page.locator(".flash")).to_contain_text("Your session has expired")
    page.get_by_role("button", name="Log in").click()
    back_to_now(page)


def test_a_user_is_logged_out_everywhere(
    context: BrowserContext, chromium: Browser, demo: str, is_stored: bool
) -> None:
    page = log_in(context, "grace")
    with chromium.new_context(base_url=demo) as other:
        theirs = log_in(other, "grace")
        page.goto("/sessions")
        if not is_stored:
            expect(page.locator("main")).to_contain_text("make demo STORE=sqlite")
            return
        expect(page.get_by_role("heading", name="Another browser")).to_have_count(1)
        page.get_by_role("button", name="Log in from a second browser").click()
        expect(page.get_by_role("heading", name="Another browser")).to_have_count(2)
        expect(page.locator("main")).to_contain_text("A second browser")
        page.get_by_role("button", name="Log out everywhere else").click()
        expect(page.locator(".flash")).to_have_text("2 other sessions ended.")
        theirs.goto("/session")
        expect(theirs).to_have_url(re.compile("/login$"))
        expect(theirs.locator(".flash")).to_contain_text("This session was ended")
        theirs.get_by_role("button", name="Log in").click()
        page.goto("/sessions")
        page.get_by_role("button", name="Log out everywhere", exact=True).click()
        expect(page).to_have_url(re.compile("/login$"))


def test_the_largest_cookie_that_fits_is_kept_by_the_browser(
    context: BrowserContext, is_stored: bool
) -> None:
    page = log_in(context, "margaret")
    page.goto("/session")
    if is_stored:
        # Only its reference is in the cookie.
        page.get_by_label("Keep notes").fill("20000")
        page.get_by_role("button", name="Keep").click()
        expect(page.locator("#contents")).to_contain_text("notes")
        assert len(cookie_of(context)) < 300
        return
    fits, too_large = 0, 4096
    while too_large - fits > 1:
        size = (fits + too_large) // 2
        page.goto("/session")
        page.get_by_label("Keep notes").fill(str(size))
        page.get_by_role("button", name="Keep").click()
        if page.get_by_role("heading", name="Too large").count():
            expect(page.locator("main")).to_contain_text("notes")
            too_large = size
        else:
            fits = size
            # The browser has kept it, and sends it back.
            expect(page.get_by_label("Keep notes")).to_have_value(str(size))
    # The rest of the session differs by a few bytes each time, once it is compressed.
    fits -= 12
    page.goto("/session")
    page.get_by_label("Keep notes").fill(str(fits))
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_label("Keep notes")).to_have_value(str(fits))
    shown = page.locator("label[for=meter]").inner_text()
    length, limit = map(int, re.findall(r"\d+", shown)[:2])
    assert limit - 120 < length <= limit
    assert len(cookie_of(context)) > 3800


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_window(
    chromium: Browser, demo: str, width: int, scheme: str
) -> None:
    with chromium.new_context(
        base_url=demo,
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    ) as context:
        page = log_in(context)
        for path in ("/cookie?letter=50", "/session", "/sessions", "/nothing"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
