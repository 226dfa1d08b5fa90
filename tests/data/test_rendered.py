"""Rendered domains of other plugins: into memory and into files, by any number of processes, and their contract."""

import importlib
import io
import json
import signal
import sys
import tarfile
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

import domtrans
from commands import in_process
from domtrans import Cache, DomtransError, RenderedSet, load_domain, load_plugins, use
from domtrans.data import worker_process
from domtrans.data.render_worker import encode_png
from domtrans.data.rendered import receive_block
from domtrans.data.worker_process import WorkerPool, end, start
from domtrans.testing import check_domain
from installed_plugins import install
from paths import DOCS
from tiny import registry

STRIPES = """
    import domtrans
    import numpy as np

    domtrans_interface = 1

    @domtrans.RenderedDomain
    def stripes(split: str, size: int, *, count: int = 12, seed: int = 0, fault: str = "") -> domtrans.RenderedSet:
        '''Stripes.

        ``count``: images. ``seed``: of what is drawn. ``fault``: what to do wrong.
        '''
        options = {"size": size, "seed": seed + 1000 * (split == "test"), "fault": fault}
        words = {"way": ("across", "down")}
        return domtrans.RenderedSet(draw, options, size=size, count=count, vocabulary=words, about="stripes, " + split)

    def draw(numbers, *, size, seed, fault):
        for number in numbers:
            rng = np.random.default_rng([seed, number] if fault != "random" else None)
            rows = rng.integers(0, 256, (size, 1, 3), np.uint8)
            picture = np.tile(rows, (1, size, 1))
            if fault == "domtrans":
                raise domtrans.DomtransError("the paint is dry")
            if fault == "crash":
                raise RuntimeError("a bug")
            if fault == "small":
                picture = picture[:-1]
            way = "across" if fault != "word" else "around"
            if number % 3 == 0:
                yield picture, {}
            elif number % 3 == 1:
                yield picture, {"way": way}
            else:
                yield np.ascontiguousarray(picture.swapaxes(0, 1)), {"way": "down"}

    @domtrans.hookimpl
    def register(registry):
        registry.domain("stripes", stripes)
"""


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    """A registry with a rendered domain of another plugin."""
    folder = tmp_path / "installed"
    folder.mkdir()
    install(folder, "stripes", STRIPES)
    monkeypatch.syspath_prepend(str(folder))
    yield load_plugins().registry
    sys.modules.pop("neighbour_stripes", None)


def rendered_set(registry, split="train", size=16, **options):
    arguments = registry.arguments("domain", use("stripes", **options))
    return registry.get("domain", "stripes").factory.rendered(split, size, **arguments)


def test_a_rendered_domain_of_a_plugin_is_a_domain(stripes, tmp_path):
    check_domain(stripes, "stripes")
    found = load_domain(stripes, use("stripes"), "test", 16)
    assert found.images.shape == (12, 3, 16, 16) and found.attributes["way"].index.tolist() == [-1, 0, 1] * 4
    kept = load_domain(stripes, use("subset", of=use("stripes"), count=4), "train", 16)
    assert len(kept) == 4 and kept.attributes["way"].values == ("across", "down")


def test_a_rendered_domain_of_a_plugin_can_be_written(stripes, tmp_path, capsys):
    code, _, err = in_process(capsys, "make", "stripes", tmp_path / "out", "seed=4", "--count", "5", "--size", "16", "-q")
    assert code == 0, err
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar, Image.open(tar.extractfile("00000002.png")) as image:
        picture = np.asarray(image)
        assert json.loads(tar.extractfile("00000002.json").read()) == {"attributes": {"way": "down"}}
    assert np.array_equal(picture, load_domain(stripes, use("stripes", seed=4), "train", 16).images[2].permute(1, 2, 0))


def test_the_domain_in_the_docs_works(tmp_path, monkeypatch):
    page = (DOCS / "recipes" / "faces" / "domains.md").read_text()
    (tmp_path / "of_the_docs.py").write_text(page.split("```python\n")[1].split("```")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    check_domain(importlib.import_module("of_the_docs").stripes, count=8)


def test_several_processes_render_the_same_images_in_order(stripes, tmp_path):
    rendered = rendered_set(stripes, count=250)
    alone, together = (rendered.load(Cache(tmp_path / str(workers)), workers=workers) for workers in (1, 3))
    assert alone.fingerprint() == together.fingerprint() and len(alone) == 250


def test_killed_render_processes_are_replaced(stripes):
    rendered = rendered_set(stripes)
    setup = {"module": rendered.draw.__module__, "function": "draw", "options": rendered.options}
    requests = [{"first": number, "end": number + 1, "files": False} for number in range(20)]
    with closing(WorkerPool("domtrans.data.render_worker", 2, task="render", advice="", setup=setup)) as pool:
        blocks = pool.map(requests, receive_block)
        first = next(blocks)
        for process in list(pool.processes.values()):
            process.kill()
        assert [first, *blocks] == list(rendered.blocks([(n, n + 1) for n in range(20)], files=False, workers=1))


def test_a_process_that_cannot_start_is_the_error(monkeypatch):
    def refuse(module):
        raise OSError("no more processes")

    monkeypatch.setattr(worker_process, "start", refuse)
    with closing(WorkerPool("any", 1, task="render", advice="")) as pool, pytest.raises(OSError, match="no more processes"):
        pool.submit({}, receive_block).result()


def test_the_old_names_still_work(stripes):
    assert domtrans.DrawnSet is RenderedSet and domtrans.DrawnDomain is domtrans.RenderedDomain
    factory = stripes.get("domain", "stripes").factory
    assert factory.drawn is factory.rendered


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("domtrans", "^the paint is dry$"),
        ("small", r"an image of stripes, train is not uint8 \[16, 16, 3\]"),
        ("word", "'around' is not a value of the attribute 'way' .across, down.$"),
    ],
)
def test_an_error_in_rendering_is_one_sentence(stripes, fault, sentence, workers):
    with pytest.raises(DomtransError, match=sentence):
        rendered_set(stripes, fault=fault).load(workers=workers)


def test_a_render_process_that_crashes_is_one_sentence(stripes, capfd):
    with pytest.raises(DomtransError, match="a render process ended twice, the last time with exit code 1"):
        rendered_set(stripes, fault="crash").load(workers=2)
    assert "RuntimeError: a bug" in capfd.readouterr().err, "the author of the domain needs the traceback"


@pytest.mark.parametrize("fault", ["random", "word"])
def test_the_contract_is_checked(stripes, fault):
    with pytest.raises((AssertionError, DomtransError), match=r"domain-deterministic|domain-rendered|not a value"):
        check_domain(stripes, "stripes", fault=fault)


def test_a_function_that_a_process_cannot_import_is_called_here():
    def draw(numbers, *, shade):
        for number in numbers:
            yield np.full((8, 8, 3), shade + number, np.uint8), {}

    found = RenderedSet(draw, {"shade": 100}, size=8, count=3, vocabulary={}).load(workers=2)
    assert found.images[:, 0, 0, 0].tolist() == [100, 101, 102]


def test_png_files_are_not_encoded_again():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    file = encode_png(picture)
    assert encode_png(file) is file
    with Image.open(io.BytesIO(file)) as image:
        assert np.array_equal(np.asarray(image), picture)


def test_a_render_process_ignores_ctrl_c():
    """Ctrl-C reaches every process of a terminal; the parent decides when its workers end."""
    process = start("domtrans.data.render_worker")
    try:
        job = {"module": "domtrans_faces.domains.avatars", "function": "draw_avatars"}
        options = (
            registry().get("domain", "avatars").factory.rendered("train", 16, **registry().arguments("domain", use("avatars")))
        )
        process.stdin.write(json.dumps({**job, "options": options.options}).encode() + b"\n")
        process.stdin.write(json.dumps({"first": 0, "end": 1, "files": True}).encode() + b"\n")
        process.stdin.flush()
        lengths = json.loads(process.stdout.readline())["lengths"]
        process.stdout.read(*lengths)
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(120) == 0
    finally:
        end(process)
