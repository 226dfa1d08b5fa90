"""What tests share: a cache of their own, never the user's, and one finished run of the command line."""

import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny networks lose more by waiting for threads than they gain

import pytest

from cliffs import cliffs  # noqa: F401 - a fixture
from commands import SMALL, domtrans
from tiny import write_bars


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """An empty cache, which the processes of pytest-xdist share."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    before = os.environ.get("DOMTRANS_CACHE")
    os.environ["DOMTRANS_CACHE"] = str(folder / "cache")
    yield
    if before is None:
        del os.environ["DOMTRANS_CACHE"]
    else:
        os.environ["DOMTRANS_CACHE"] = before


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> list[str]:
    """Assignments that name bars instead of digits."""
    folder = tmp_path_factory.mktemp("data")
    return [
        "source=arrays",
        f"source.path={write_bars(folder / 'source.npz')}",
        "source.holdout=0.25",
        "target=arrays",
        f"target.path={write_bars(folder / 'target.npz', channels=1, seed=1)}",
        "target.holdout=0.25",
    ]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data):
    """A finished run, and the process that made it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, domtrans("train", "digits-dtn-paper", *data, *SMALL, "--out", out)


@pytest.fixture(scope="module")
def browser():
    """A real browser, and a camera that films a clock."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser here: none of {', '.join(names)} is on the path")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=found, args=["--no-sandbox", *camera])
        yield running
        running.close()


@pytest.fixture
def visit(browser):
    """Open a page, and see in the end that it asked no one else for anything and complained of nothing."""
    contexts, wrong = [], []

    def open_page(url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        ours = (url if url.startswith("http") else "file:", "data:", "blob:")
        page.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(ours) else None)
        page.goto(url)
        return page

    yield open_page
    assert wrong == []
    for context in contexts:
        context.close()
