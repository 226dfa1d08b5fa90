"""The picture of docs/demo.md: the demo of a run after a 2 was drawn, in a browser without a window.

python benchmarks/demo_picture.py RUN [OUT.png]

The run is that of `domtrans train digits-dtn`. It needs the extra "dev" and a Chromium on the path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "demo.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1120, 800
TWO = [(30, 30), (40, 20), (52, 17), (66, 24), (70, 36), (62, 48), (45, 64), (30, 82), (72, 82)]
"""The corners of the stroke, in hundredths of the side of the canvas."""


def draw(page: Page) -> None:
    """Draw the stroke with the mouse, and wait for the result."""
    canvas = page.locator("#canvas").bounding_box()
    assert canvas is not None
    places = [(canvas["x"] + x / 100 * canvas["width"], canvas["y"] + y / 100 * canvas["height"]) for x, y in TWO]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.mouse.up()
    page.wait_for_load_state("networkidle")


def main(run: str, out: str = str(PICTURE)) -> None:
    """Write the picture."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"there is no browser here: none of {', '.join(BROWSERS)} is on the path")
    command = [sys.executable, "-u", "-m", "domtrans", "demo", run, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}) as server:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        if address is None:
            sys.exit("the demo did not start")
        try:
            with sync_playwright() as started:
                page = started.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
                    viewport={"width": WIDTH, "height": HEIGHT}
                )
                page.goto(address[0])
                draw(page)
                page.screenshot(path=out, full_page=True)
        finally:
            server.terminate()
    print(f"wrote {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
