"""One browser and one stub server for all tests of the page; a fresh tab for each test."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from web.page.stub import Stub, picture

WAIT_MS = 15_000


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds; the page's policy forbids what Playwright's ``wait_for_function`` does."""
    page.wait_for_timeout(1)
    for _ in range(WAIT_MS // 25):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"it never came to {expression}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; the tests are skipped where it, or Playwright, is not there."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the page's tests")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium to open the page with: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def running_stub() -> Iterator[Stub]:
    started = Stub()
    yield started
    started.close()


@pytest.fixture
def stub(running_stub: Stub) -> Stub:
    """A server with made answers, as it is at first."""
    running_stub.reset()
    return running_stub


class Tab:
    """An open page, with what its console said and where it sent requests to."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.said: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(WAIT_MS)
        self._heard = {
            "console": lambda message: self.said.append(f"{message.type}: {message.text}"),
            "pageerror": lambda error: self.said.append(f"error: {error}"),
            "request": lambda request: self.hosts.add(urlsplit(request.url.removeprefix("blob:")).netloc),
        }
        for kind, hears in self._heard.items():
            page.on(kind, hears)

    def close(self) -> None:
        """Leave the tab empty for the next one."""
        if self.page.url != "about:blank":
            self.page.evaluate("sessionStorage.clear()")
        self.page.goto("about:blank")
        for kind, hears in self._heard.items():
            self.page.remove_listener(kind, hears)

    def open(self, view: str = "") -> Any:
        """Open the page at a view."""
        self.page.goto(f"{self.url}#{view}")
        self.page.wait_for_selector("body[data-ready]")
        return self.page

    def shown(self, name: str) -> None:
        """Keep a picture of the page, where TRIUNE_PAGE_SHOTS names a folder."""
        if folder := os.environ.get("TRIUNE_PAGE_SHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def errors(self) -> list[str]:
        """What the console complained of; the browser's own line about an answer of 4xx is no fault of the page."""
        return [each for each in self.said if each.startswith("error") and "Failed to load resource" not in each]


USUAL = {"reduced_motion": "reduce", "viewport": {"width": 1200, "height": 900}}


@pytest.fixture(scope="session")
def usual_page(browser: Any) -> Iterator[Any]:
    """The tab that most tests take in turn: a new one costs a process."""
    page = browser.new_context(**USUAL).new_page()
    yield page
    page.context.close()


@pytest.fixture
def tab(browser: Any, usual_page: Any, stub: Stub) -> Iterator[Callable[..., Tab]]:
    """Open a tab on the stub, or on another server; keywords are those of Playwright's ``new_context``.

    Whatever a test does: nothing is written to the console as an error, and no other host is asked.
    """
    contexts = []
    tabs: list[Tab] = []

    def opened(url: str | None = None, **options: Any) -> Tab:
        page = usual_page
        if options:
            context = browser.new_context(**{**USUAL, **options})
            contexts.append(context)
            page = context.new_page()
        tabs.append(Tab(page, url or stub.url))
        return tabs[-1]

    yield opened
    for each in tabs:
        each.close()
    for context in contexts:
        context.close()
    assert [said for tab in tabs for said in tab.errors()] == []
    assert {host for tab in tabs for host in tab.hosts} <= {urlsplit(tab.url).netloc for tab in tabs}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three PNG files."""
    folder = tmp_path_factory.mktemp("pictures")
    made = []
    for name, colour in (("red.png", (200, 60, 40)), ("blue.png", (40, 60, 200)), ("green.png", (40, 160, 60))):
        (folder / name).write_bytes(picture(colour))
        made.append(folder / name)
    return made
