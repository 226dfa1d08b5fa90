"""Every shipped part keeps the contract of its kind."""

import functools
import typing

import pytest

from domtrans import load_plugins, testing
from domtrans.registry.registry import KINDS
from domtrans.testing.contracts import CONTRACTS
from dots import Dots
from tiny import bars, write_bars
from tiny_shards import write_shards


@functools.cache
def registry():
    """The shipped parts, without others that may be installed."""
    return load_plugins(only=()).registry


OPTIONS = {
    "street-digits": {"count": 40, "test_count": 20},
    "chain": {"steps": ["noise", "blur"]},
    "adaptive": {"initial": 1.0},
    "classifier": {"steps": 20, "batch_size": 8},
    "self-training": {"steps": 20, "batch_size": 8},
    "vada": {"steps": 20, "batch_size": 8},
    "dirt-t": {"steps": 20, "batch_size": 8},
    "probe": {"steps": 20, "batch_size": 8},
    "self-supervised": {"steps": 20, "batch_size": 8},
    "digit-accuracy": {"steps": 2, "batch_size": 8},
    "digit-realism": {"steps": 2, "batch_size": 8},
    "image-realism": {"steps": 2, "batch_size": 8},
    "content": {"steps": 2, "batch_size": 8},
    "variety": {"steps": 2, "batch_size": 8},
    "adaptation-accuracy": {"steps": 2, "batch_size": 8},
    "subset": {"of": {"name": "street-digits", "count": 40, "test_count": 20}},
    "extended": {"of": {"name": "street-digits", "count": 20, "test_count": 10}, "by": [{"name": "portraits", "count": 8}]},
    "oracle-consistency": {
        "target": {"name": "street-digits", "count": 40, "test_count": 20},
        "steps": 2,
        "batch_size": 8,
    },
    "digits": {"quick": True},
    "avatars": {"count": 8, "test_count": 4},
    "attributes": {"classes": 32},
    "face-discriminator": {"classes": 32, "width": 8},
    "map-encoder": {"width": 8},
    "map-generator": {"width": 8, "bottleneck": 4},
    "image-generator": {"width": 8},
    "patch-discriminator": {"classes": 3, "width": 8},
    "image-discriminator": {"classes": 3, "width": 8},
    "feature-discriminator": {"classes": 3, "width": 8, "encoders": [{"name": "map-encoder", "width": 8}]},
    "joint-discriminator": {"of": [{"name": "patch-discriminator", "width": 8}, {"name": "image-discriminator", "width": 8}]},
    "portraits": {"count": 8, "test_count": 4},
    "ensemble": {"encoders": ["digit-encoder", "digit-encoder"]},
    "each": {"of": {"name": "classifier", "steps": 20, "batch_size": 8}},
    "predictions": {"of": {"name": "attributes", "width": 4, "features": 8}},
    "parameters": {"channels": 3, "engine": Dots(0), "hidden": 16, "renderer_width": 8},
    "face-verification": {"encoder": {"name": "colour-grid"}, "pairs": 10, "folds": 2},
    "torch": {"algorithm": "RAdam"},
    "torchmetrics": {"metric": "PeakSignalNoiseRatio", "arguments": {"data_range": 1.0}},
}
DOWNLOADED = {"mnist", "usps", "svhn", "lfw", "celeba", "ms-celeb"}
OF_FILES = {"arrays", "folder", "webdataset", "onnx"}
OF_CODE = {"python"}
"""Its images exist only during a call from Python."""
OF_A_LIBRARY = {"kornia"}
"""The library is optional. test_interop.py checks it."""
NEED_A_LIBRARY = ("tracker", "detector")
"""test_trackers.py and test_faces_detection.py check them, and test_encoders_onnx.py the encoder onnx."""
ALL = list(registry())
CHECKED = [
    entry
    for entry in ALL
    if entry.name not in DOWNLOADED | OF_FILES | OF_CODE | OF_A_LIBRARY and entry.kind not in NEED_A_LIBRARY
]


@pytest.mark.parametrize("entry", CHECKED, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_shipped_part_keeps_its_contracts(entry):
    getattr(testing, f"check_{entry.kind}")(registry(), entry.name, **OPTIONS.get(entry.name, {}))


def norms():
    """Every discriminator that has an option ``norm``, with each value that is not the default."""
    for name in registry().names("discriminator"):
        factory = registry().get("discriminator", name).factory
        hints = typing.get_type_hints(factory.__init__)
        if "norm" in hints:
            for norm in set(typing.get_args(hints["norm"])) - {factory.__init__.__kwdefaults__["norm"]}:
                yield name, norm


@pytest.mark.parametrize(("name", "norm"), sorted(norms()))
def test_a_discriminator_keeps_its_contracts_with_every_norm(name, norm):
    testing.check_discriminator(registry(), name, norm=norm, width=4)


@pytest.mark.parametrize("name", ["arrays", "webdataset"])
def test_a_domain_of_files_keeps_its_contracts(tmp_path, name):
    place = {"arrays": write_bars(tmp_path / "bars.npz"), "webdataset": write_shards(tmp_path / "shards", *bars(16))}[name]
    testing.check_domain(registry(), name, path=place, holdout=0.25)


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_shipped_part_has_a_summary_and_an_owner(entry):
    assert len(entry.summary) > 15 and entry.summary == entry.summary.strip()
    assert entry.owner in {"dtn", "digits", "encoders", "engines", "faces", "files", "images", "interop", "trackers"}


def test_every_kind_has_a_check_and_every_contract_belongs_to_one():
    for kind in KINDS:
        assert callable(getattr(testing, f"check_{kind}"))
    assert {anchor.partition("-")[0] for anchor in CONTRACTS} <= {"any", "network", *KINDS}
