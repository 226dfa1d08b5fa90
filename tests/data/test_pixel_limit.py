"""The limit of pixels: an argument, an environment variable, and Pillow's own."""

import io
import threading

import pytest
from PIL import Image

from domtrans import DomtransError, decode_image, transfer
from domtrans.data.decode_worker import decode_batch
from domtrans.data.pixel_limit import MAX_PIXELS_VARIABLE, pixel_limit
from image_folders import Mirror, opened, photo


@pytest.fixture
def large(tmp_path, monkeypatch):
    """An image of 600 pixels, where Pillow's limit is 100 and its error is above 200."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    return photo(tmp_path / "large.png", size=(30, 20))


def test_the_limit_is_an_argument(large):
    with pytest.raises(DomtransError, match=r"600 pixels, more than the limit of 100; .*--max-pixels.*max_pixels"):
        decode_image(large, str(large))
    with pytest.raises(DomtransError, match="600 pixels, more than the limit of 599"):
        decode_image(large, str(large), max_pixels=599)
    for limit in (600, 0):
        assert decode_image(large, str(large), max_pixels=limit).size == (30, 20)
    assert Image.MAX_IMAGE_PIXELS == 100, "the program's own limit is left alone"


def test_the_limit_is_an_environment_variable(large, tmp_path, monkeypatch):
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "1_000")
    assert decode_image(large, str(large)).size == (30, 20)
    transfer(Mirror(), large, tmp_path / "out.png")
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "many")
    with pytest.raises(DomtransError, match="DOMTRANS_MAX_PIXELS is 'many', but must be a number of pixels"):
        decode_image(large, str(large))


def test_transfer_and_decode_processes_have_the_option(large, tmp_path):
    with pytest.raises(DomtransError, match="more than the limit"):
        transfer(Mirror(), large, tmp_path / "out.png")
    transfer(Mirror(), large, tmp_path / "out.png", max_pixels=0)
    with pixel_limit(0):
        assert opened(tmp_path / "out.png").size == (16, 16)
    with pytest.raises(DomtransError, match="max_pixels=-1 is out of range; it must be 0"):
        transfer(Mirror(), large, tmp_path / "out.png", max_pixels=-1)
    location = (str(large), 0, large.stat().st_size)
    assert "more than the limit" in decode_batch([location], 8, 3)[1][0][1]
    assert not decode_batch([location], 8, 3, max_pixels=600)[1]


def test_threads_share_the_largest_limit_and_the_last_restores_it(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with pixel_limit(5_000):
            inside.set()
            leave.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(120)
    with pixel_limit(300):
        assert Image.MAX_IMAGE_PIXELS == 5_000
    assert Image.MAX_IMAGE_PIXELS == 5_000
    leave.set()
    thread.join()
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_large_image_of_every_format_is_read_without_a_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "JPEG2000", "PPM"):
        content = io.BytesIO()
        Image.new("RGB", (40, 30)).save(content, kind)
        with pytest.raises(DomtransError, match="more than the limit of 100"):
            decode_image(io.BytesIO(content.getvalue()), "an image")
        assert decode_image(content, "an image", max_pixels=0).size == (40, 30)
