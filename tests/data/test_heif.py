"""HEIF images: read with the extra "heif", and named with the command that installs it without."""

import base64
import io
import sys

import pytest

from domtrans import DomtransError, decode_image
from domtrans.data.image_files import read_image

HEIC = base64.b64decode(
    b"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAA"
    b"AERAAAEAAQAAAAABoAABAAAAAAAAADMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADc"
    b"aXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAA"
    b"AwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFw"
    b"AAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAO21kYXQAAAAv"
    b"KAGvEyFkY0D4EPdn/+m6V/3NHP/FDsenOyEdwNIggJtASJNdUAsWEICHdqVW3Pg="
)


def test_without_the_extra_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    (tmp_path / "b.png").write_bytes(HEIC)
    for name in ("a.heic", "b.png"):
        with pytest.raises(DomtransError, match=rf"{name} needs the library pillow_heif.*pip install 'domtrans\[heif\]'"):
            read_image(tmp_path / name)
    with pytest.raises(DomtransError, match="pillow_heif"):
        decode_image(io.BytesIO(HEIC), "a stream")


def test_with_the_extra_it_is_read(tmp_path):
    pytest.importorskip("pillow_heif", reason="HEIF images need pillow-heif")
    (tmp_path / "a.heic").write_bytes(HEIC)
    for image in (read_image(tmp_path / "a.heic"), decode_image(io.BytesIO(HEIC), "a stream")):
        red, green, blue = image.getpixel((8, 8))
        assert image.size == (16, 16) and red > 200 and green < 60 and blue < 60


def test_a_file_that_only_begins_like_heif_is_refused(tmp_path):
    pytest.importorskip("pillow_heif", reason="HEIF images need pillow-heif")
    (tmp_path / "a.heic").write_bytes(HEIC[:60])
    with pytest.raises(DomtransError, match=r"a\.heic"):
        read_image(tmp_path / "a.heic")
