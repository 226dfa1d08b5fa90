"""The study ``faces``: from faces to avatars, where the study of 2017 failed, tried switch by switch."""

from __future__ import annotations

from domtrans import Study
from domtrans_faces.study import tables
from domtrans_faces.study.common import Common


def faces(*, data_dir: str | None = None, encoder: str | None = None, quick: bool = False) -> Study:
    """Faces to avatars: what f is, distances, ways to train, and avatars drawn again from f's features.

    ``data_dir``: a folder with, wherever in it, published weights of encoders (mobilefacenet*.safetensors,
    dlib_resnet*.safetensors, sphere20a*.pth, openface*.pth, timm's resnet18*.safetensors), each of which is a row then, and
    Labeled Faces in the Wild (lfw*.zip or a folder lfw), which is a table; without it portraits are the source and f is
    fitted. ``encoder``: a file with weights of an encoder 'attributes', which then is neither fitted nor adapted.
    ``quick``: a few images, thin networks and a few steps, to see that everything works; the figures say nothing.
    """
    common = Common(data_dir, encoder, quick)
    hasty = " This is a quick look: few images, thin networks and few steps, so no figure says anything." if quick else ""
    made = (tables.encoders(common), tables.distances(common), tables.strategies(common), tables.reconstruction(common))
    return Study(
        name="faces",
        about="From faces to avatars with the same looks, without an attribute of any avatar and without pairs." + hasty,
        tables=made + ((tables.photographs(common),) if common.photographs and common.recognisers else ()),
    )
