"""The study ``faces``: faces to avatars, where the study of 2017 failed, one change at a time."""

from __future__ import annotations

from domtrans import Study
from domtrans_faces.study import tables
from domtrans_faces.study.common import CommonSettings


def faces(*, data_dir: str | None = None, encoder: str | None = None, quick: bool = False) -> Study:
    """Faces to avatars: encoders, distances, training strategies, and avatars reconstructed from f's features.

    Args:
        data_dir: Folder that contains, at any depth, published weights of encoders (mobilefacenet*.safetensors,
            dlib_resnet*.safetensors, sphere20a*.pth, openface*.pth, timm's resnet18*.safetensors), each of which adds a
            row, and Labeled Faces in the Wild (lfw*.zip or a folder lfw), which adds a table; without it, all rows use
            portraits and a fitted f.
        encoder: File with weights of an encoder 'attributes', which is then neither fitted nor adapted.
        quick: Smoke test with a few images, thin networks and a few steps; the results are meaningless.
    """
    common = CommonSettings(data_dir, encoder, quick)
    warning = " This is a smoke test with few images, thin networks and few steps: the results are meaningless."
    always = (tables.encoders(common), tables.distances(common), tables.strategies(common), tables.reconstruction(common))
    return Study(
        name="faces",
        about="Faces to avatars with the same attributes, without attributes of avatars and without pairs."
        + (warning if quick else ""),
        tables=always + ((tables.photographs(common),) if common.photographs and common.recognisers else ()),
    )
