"""The first hour of a reader: the commands of the README and of the tutorials, one after the other in one folder.

Every command is the page's own; only options that make it small are added. The tutorial on a domain of one's own needs an
environment to install it into: test_installed.py does that.
"""

import re
import shlex
import shutil
import signal
import subprocess
import urllib.request
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import SMALL
from installed_plugins import install
from pages import blocks
from paths import DOCS, ROOT
from processes import run, start

STEP = re.compile(
    r"^```(?P<language>\w*)\n(?P<code>(?:.*\n)*?)```$|^    (?P<indented>\S.*)$|`(?P<inline>domtrans [^`\n]+)`", re.MULTILINE
)
"""Code of a page: fenced, indented, or within a sentence or table."""
SMALL_PHOTOS = [
    "encoder.width=4",
    "fit.steps=1",
    "fit.batch_size=2",
    "generator.width=4",
    "discriminator.width=4",
    "train.steps=1",
    "train.batch_size=2",
    "train.validate_every=1",
]
NOT_RUN = {
    "train svhn-dtn": "downloads",
    "reproduce digits": "takes minutes; tests/studies runs studies",
    "bench digits-dtn": "times steps; tests/benchmark runs it",
    "train folders-dtn source.path=photos target.path=drawings --time": "trains for half an hour",
    "sweep digits-dtn": "trains 20 times; tests/studies runs sweeps",
}
"""Commands that begin so, and why they are left out."""
STAND_INS = {"KIND": "encoder"}


def steps(page):
    """(language, code) in the order of the page; a command is of the language ``sh``."""
    for match in STEP.finditer(re.sub(r" *\\\n *", " ", page.read_text())):
        if match["code"] is None:
            yield "sh", match["indented"] or match["inline"]
        elif match["language"] == "sh":
            yield from (("sh", line) for line in match["code"].splitlines())
        else:
            yield match["language"], match["code"]


class Reader:
    """Types commands in one folder."""

    def __init__(self, folder: Path, small_digits: list[str]) -> None:
        self.folder, self.site, self.typed = folder, folder / "site-packages", []
        self.small = {"train digits-dtn": small_digits, "make ": ["--count", "8"]}
        self.small |= dict.fromkeys(("train folders", "train photos"), SMALL_PHOTOS)

    def python(self, *words):
        done = run(*words, cwd=self.folder, env={"PYTHONPATH": self.site})
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def type(self, line):
        """Run a command of a page; commands that install or fetch something are left out."""
        words = [STAND_INS.get(word, word) for word in shlex.split(line, comments=True)]
        if words[:1] in (["mkdir"], ["tar"]):
            subprocess.run(words, cwd=self.folder, check=True)
        if words[:1] != ["domtrans"]:
            return
        self.typed.append(line)
        for path in [self.folder / word for word in words if word in ("runs/a", "runs/b")]:
            if not path.exists():
                shutil.copytree(self.folder / "runs" / "digits-dtn", path)
        begins = " ".join(words[1:])
        if words[1] == "demo":
            self.try_the_demo(words)
        elif not begins.startswith(tuple(NOT_RUN)):
            added = [word for command, small in self.small.items() if begins.startswith(command) for word in small]
            place = 3 if words[1] == "train" else len(words)  # what the page says itself comes last, and counts
            self.python("-m", *words[:place], *added, *words[place:])

    def try_the_demo(self, words):
        options = ["--no-browser", "--port", 0]
        with start("-m", *words, *options, cwd=self.folder) as process:
            address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            with urllib.request.urlopen(address) as page:
                assert b"<html" in page.read()
            process.send_signal(signal.SIGINT)


@pytest.fixture
def reader(tmp_path, data):
    """A reader with photos, in folders of classes, of several formats and sizes."""
    numbers = count()
    for folder in ("photos/cat", "photos/dog", "drawings", "more-photos"):
        (tmp_path / folder).mkdir(parents=True)
        for suffix, size in 2 * (("png", (40, 40)), ("jpg", (64, 48)), ("webp", (33, 50)), ("bmp", (36, 36))):
            pixels = np.random.default_rng(next(numbers)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{next(numbers)}.{suffix}")
    return Reader(tmp_path, [*data, *SMALL])


def test_the_readme_and_the_tutorial_on_digits(reader):
    readme, tutorial = ROOT / "README.md", DOCS / "tutorials" / "digits.md"
    (squares,) = (code for code in blocks(readme, "python") if "def squares" in code)
    reader.site.mkdir()
    install(reader.site, "squares", squares)
    for name in ("house-number.jpg", "photo.jpg", "photo.png"):
        Image.open(next(reader.folder.glob("photos/cat/*.jpg"))).save(reader.folder / name)
    small = "import domtrans, functools, PIL.Image; photos = [PIL.Image.open('house-number.jpg')]\n"
    small += f"domtrans.train = functools.partial(domtrans.train, overrides={reader.small['train digits-dtn']})\n"
    scripts = []
    for page in (readme, tutorial):
        for language, code in steps(page):
            if language == "sh":
                reader.type(code)
            elif language == "python" and code != squares:
                scripts.append(small + code)
    for script in scripts:
        reader.python("-c", script)
    assert len(reader.typed) > 20 and len(scripts) == 2


def test_the_tutorial_on_one_s_own_photos(reader):
    shutil.rmtree(reader.folder / "photos"), shutil.rmtree(reader.folder / "drawings")
    for language, code in steps(DOCS / "tutorials" / "your-photos.md"):
        if language == "sh":
            reader.type(code)
        elif language == "toml":
            name = re.match(r"# (\S+\.toml)", code)[1]
            (reader.folder / name).write_text(code)
    assert len(list((reader.folder / "transferred").glob("*.png"))) == 8
    assert len(reader.typed) >= 10
