"""avatars and portraits: attributes match the drawings, and every image depends on its number only."""

import io
import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib import resources
from itertools import combinations, product
from typing import get_args

import dicebear
import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from domtrans import DomtransError, load_domain, use
from domtrans.data.rendered import RenderedSet
from domtrans_faces.domains.drawing import Pose, dicebear_style, rasterise, sample_face, to_svg
from domtrans_faces.domains.styles import STYLES, UNKNOWN, Style
from domtrans_faces.vocabulary import DEFAULT_SHARES, HAIR_COLOURS, SKIN_COLOURS, VOCABULARY, sample_attributes, with_defaults
from paths import DOCS
from tiny import registry

SIZE = 64
LUMA = np.array([0.299, 0.587, 0.114])


def domain(name, split="train", size=16, **options):
    return load_domain(registry(), use(name, **{"count": 20, "test_count": 10} | options), split, size)


def pixels(face, size=SIZE, background="#00ff00", **pose):
    with Image.open(io.BytesIO(rasterise(to_svg(face, background=background, pose=Pose(**pose)), size))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def faces(style, count, **shares):
    return [sample_face(STYLES[style], with_defaults(shares), random.Random(number)) for number in range(count)]


styles = pytest.mark.parametrize("style", STYLES)


def test_the_option_style_lists_all_styles():
    assert get_args(Style) == tuple(STYLES)


def test_default_shares_cover_the_vocabulary():
    assert {name: tuple(values) for name, values in DEFAULT_SHARES.items()} == VOCABULARY


@styles
def test_a_style_uses_existing_components_and_values(style):
    definition = json.loads((resources.files("dicebear_styles") / f"{style}.json").read_text("utf-8"))
    variants = {name: set(component["variants"]) for name, component in definition["components"].items()}
    for slot in STYLES[style].slots:
        for piece in slot:
            assert all(variant in variants[component] for component, variant in piece.variants.items()), piece
            assert all(value in (*VOCABULARY[name], UNKNOWN) for name, value in piece.attributes.items()), piece
    assert set(STYLES[style].free) <= variants.keys() and set(STYLES[style].colours) <= definition["colors"].keys()


def test_the_target_style_can_show_every_value():
    shown = {(name, value) for slot in STYLES["avataaars"].slots for piece in slot for name, value in piece.attributes.items()}
    drawn = {(name, value) for name, values in VOCABULARY.items() for value in values if name not in ("skin", "hair_colour")}
    assert drawn <= shown


@styles
def test_drawings_equal_those_of_dicebear(style):
    """FixedResolver replaces DiceBear's Resolver; the SVG must equal that of its public class."""
    components = dicebear_style(style).components()
    for number, drawn in enumerate(faces(style, 25)):
        face = replace(
            drawn, style=replace(drawn.style, frame=(0.5, 0.5, 1.0))
        )  # DiceBear rounds the transform, so use round numbers
        options = {"seed": "domtrans", "rotate": number, "scale": 1.25}
        options |= {"backgroundColor": "#a0b0c0", "flip": "horizontal"} if number % 2 else {}
        options |= {f"{name}Variant": variant for name, variant in face.variants.items()}
        options |= {f"{name}Probability": 100 if name in face.variants else 0 for name in components}
        for name, colour in dicebear_style(style).colors().items():
            options[f"{name}Color"] = face.colours.get(name, colour.values()[0])
        pose = Pose(turn=number, zoom=1.25, mirrored=bool(number % 2))
        found = to_svg(face, background="#a0b0c0" if number % 2 else None, pose=pose)
        assert found == dicebear.Avatar(dicebear_style(style), options).to_string()


@styles
def test_different_attribute_values_are_visible(style):
    """Changing the value of one attribute changes the image at 64 pixels."""
    (face,) = faces(style, 1, facial_hair={"no": 1}, glasses={"no": 1}, hair_length={"short": 1}, eyes={"open": 1})
    for slot in STYLES[style].slots:
        others = {name: variant for name, variant in face.variants.items() if not any(name in piece.variants for piece in slot)}
        images = {
            tuple(piece.attributes.items()): pixels(replace(face, variants={**others, **piece.variants})) for piece in slot
        }
        for one, other in combinations(images, 2):
            changed = (np.abs(images[one] - images[other]).max(-1) > 24).sum()
            assert changed >= 4, (one, other)


@styles
def test_skin_has_the_lightness_of_its_value(style):
    (face,) = faces(style, 1, facial_hair={"no": 1}, glasses={"no": 1}, hair_length={"medium": 1}, hair_colour={"red": 1})
    (skin,) = [colour for colour, kind in face.style.colours.items() if kind == "skin"]
    for value, colours in SKIN_COLOURS.items():
        found = [pixels(replace(face, colours={**face.colours, skin: colour})) for colour in colours]
        changes = (found[0] != pixels(replace(face, colours={**face.colours, skin: "#0000ff"}))).any(-1)
        assert changes.mean() > 0.05, "skin covers a visible part of the image"
        for image in found:
            luma = np.median(image[changes] @ LUMA)
            assert {"light": luma > 180, "medium": 130 < luma < 170, "dark": luma < 110}[value], (value, luma)


def test_every_hair_colour_differs_from_every_skin_colour():
    colours = [
        [ImageColor.getrgb(colour) for each in group.values() for colour in each] for group in (SKIN_COLOURS, HAIR_COLOURS)
    ]
    for skin, hair in product(*colours):
        assert max(abs(a - b) for a, b in zip(skin, hair, strict=True)) > 24, (skin, hair)


def test_samples_follow_the_shares():
    """Over many faces, without rendering."""
    counts = Counter((name, value) for face in faces("avataaars", 3000) for name, value in face.attributes.items())
    for name in ("skin", "glasses", "facial_hair", "mouth", "eyes", "brows"):
        total = sum(DEFAULT_SHARES[name].values())
        for value, share in DEFAULT_SHARES[name].items():
            assert abs(counts[name, value] / 3000 - share / total) < 0.03, (name, value)
    assert all(counts[name, value] >= 60 for name, values in VOCABULARY.items() for value in values)
    medium = [face.attributes["hair_style"] for face in faces("avataaars", 600, hair_length={"medium": 1})]
    assert all(abs(medium.count(value) / 600 - share / 10) < 0.06 for value, share in DEFAULT_SHARES["hair_style"].items())
    only = faces("avataaars", 100, glasses={"yes": 2}, hair_colour={"red": 1, "grey": 1})
    assert {face.attributes["glasses"] for face in only} == {"yes"}
    assert {face.attributes.get("hair_colour") for face in only} <= {"red", "grey", None}


def test_the_order_of_shares_does_not_matter():
    one, other = {"glasses": {"no": 1, "yes": 2}, "skin": {"dark": 1, "light": 1}}, {"skin": {"light": 1, "dark": 1}}
    other["glasses"] = {"yes": 2, "no": 1}
    assert [face.attributes for face in faces("micah", 30, **one)] == [face.attributes for face in faces("micah", 30, **other)]


def test_faces_with_facial_hair_rarely_have_long_hair():
    samples = [sample_attributes(with_defaults({}), random.Random(number)) for number in range(2000)]
    long = {
        word: np.mean([one["hair_length"] == "long" for one in samples if one["facial_hair"] == word]) for word in ("no", "yes")
    }
    assert long["no"] > 0.25 and long["yes"] < 0.1
    assert (
        sample_attributes(with_defaults({"hair_length": {"long": 1}, "facial_hair": {"yes": 1}}), random.Random(0))[
            "hair_length"
        ]
        == "long"
    )


def test_a_bald_face_has_no_hair_colour():
    for face in faces("avataaars", 20, hair_length={"none": 1}):
        assert "hair_colour" not in face.attributes and "hair_style" not in face.attributes and "top" not in face.variants


def test_hair_and_beard_have_the_same_colour():
    for face in faces("avataaars", 20, facial_hair={"yes": 1}, hair_colour={"other": 1}):
        assert face.colours["hair"] == face.colours["facialHair"]


def test_a_pose_moves_the_face_within_the_image():
    (face,) = faces("toon-head", 1)

    def middle(**pose):
        there = (pixels(face, **pose) != [0, 255, 0]).any(-1)
        return np.array([places.mean() for places in np.nonzero(there)])

    upright = middle()
    moved = middle(right=0.1, down=-0.1)
    assert moved[1] - upright[1] > 2 and moved[0] - upright[0] < -2
    assert np.abs(middle(turn=15) - upright).max() < 6 and np.abs(middle(turn=15, mirrored=True) - upright).max() < 6
    mirrored = pixels(face, mirrored=True)[:, ::-1]
    assert np.abs(mirrored - pixels(face)).mean() < 3


def test_avatars_have_attributes():
    found = domain("avatars", size=32, count=60)
    assert found.labels is None and found.images.shape == (60, 3, 32, 32)
    assert {name: of.values for name, of in found.attributes.items()} == VOCABULARY
    for name, of in found.attributes.items():
        unknown = int((of.index == -1).sum())
        assert name in ("hair_colour", "hair_style") or not unknown, name
        assert of.index.unique().numel() > 1
    assert "Pablo Stanley" in found.about and "train split" in found.about
    assert (found.images[:, :, 0, 0] == 255).all(1).float().mean() > 0.6, "a white background"
    dark = domain("avatars", size=32, background="#000000")
    assert dark.images[:, :, 0, 0].float().mean() < 60


@pytest.mark.parametrize("name", ["avatars", "portraits"])
def test_an_image_depends_on_its_number_only(name):
    few, many = (domain(name, count=count) for count in (5, 12))
    assert torch.equal(few.images, many.images[:5])
    assert all(torch.equal(of.index, many.attributes[key].index[:5]) for key, of in few.attributes.items())
    others = domain(name, "test", test_count=12), domain(name, count=12, seed=1)
    for other in others:
        assert not any(torch.equal(a, b) for a, b in zip(many.images, other.images, strict=True))


def test_portraits_in_a_style_without_pieces_for_an_attribute():
    toon, adventurer, micah = (domain("portraits", styles=[style]) for style in ("toon-head", "adventurer", "micah"))
    assert (toon.attributes["glasses"].index == 0).all() and (adventurer.attributes["facial_hair"].index == 0).all()
    assert (micah.attributes["brows"].index == -1).all()
    bearded = domain("portraits", styles=["lorelei"], shares={"facial_hair": {"yes": 1}})
    assert (bearded.attributes["mouth"].index == -1).all() and (bearded.attributes["facial_hair"].index == 1).all()


def test_nuisance_adds_noise_and_backgrounds():
    plain, half, full = (domain("portraits", size=48, nuisance=nuisance, count=6).images.float() for nuisance in (0, 0.5, 1))
    assert not torch.equal(plain, full) and not torch.equal(half, full)
    corners = [images[:, :, :3, :3].flatten(2).std(2).mean() for images in (plain, full)]
    assert corners[0] == 0 and corners[1] > 1, "a plain background, and one with noise"


def test_portraits_use_all_their_styles():
    options = registry().arguments("domain", use("portraits"))
    drawn = registry().get("domain", "portraits").factory.rendered("train", 16, **options)
    assert isinstance(drawn, RenderedSet) and drawn.options["styles"] == ["toon-head", "micah", "lorelei", "adventurer"]
    assert all(word in drawn.about for word in ("Johan Melin", "Micah Lanier", "Lisa Wischofsky", "no photographs"))


def test_a_set_is_rendered_once(monkeypatch):
    first = domain("avatars", seed=7)
    monkeypatch.setattr(RenderedSet, "blocks", lambda *_, **__: pytest.fail("rendered again"))
    assert domain("avatars", seed=7).fingerprint() == first.fingerprint()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"style": "bitmoji"}, "'avataaars', 'toon-head', 'micah', 'lorelei' or 'adventurer'"),
        ({"background": "white"}, "option 'background'"),
        ({"shares": {"hat": {"yes": 1}}}, "unknown attribute 'hat' (attributes: skin, facial_hair"),
        ({"shares": {"glasses": {"maybe": 1}}}, "the attribute 'glasses' has no value 'maybe' (values: no, yes)"),
        ({"shares": {"glasses": {"yes": 0}}}, "at least one value of the attribute 'glasses' needs a share above 0"),
        ({"shares": {"glasses": {"yes": -1}}}, "greater than or equal to 0"),
        ({"count": 0}, "option 'count'"),
    ],
)
def test_wrong_options_are_a_clear_error(options, sentence):
    with pytest.raises(DomtransError) as caught:
        domain("avatars", **options)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_resolved_part_has_all_shares():
    part = registry().resolve("domain", use("avatars", shares={"glasses": {"yes": 1}}))
    assert part.options["shares"] == DEFAULT_SHARES | {"glasses": {"yes": 1}}


def test_every_style_is_credited():
    """Artists and licences come from DiceBear; our page, our help and every image set repeat them."""
    page = (DOCS / "recipes" / "faces" / "styles.md").read_text()
    help_text = {name: registry().get("domain", name).factory.__doc__ for name in ("avatars", "portraits")}
    for style in STYLES:
        about = dicebear_style(style).meta()
        licence = about.license().name()
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{style}` | [")]
        assert about.creator().name() in row and licence.lower().split(".")[0] in row.lower() and about.source().url() in row
        assert about.creator().name() in help_text["avatars"] and licence[:5].lower() in help_text["avatars"].lower()
        assert style == "avataaars" or about.creator().name() in help_text["portraits"]
        assert about.creator().name() in domain("avatars", style=style, count=1).about


def test_rendering_does_not_import_torch():
    modules = "domtrans_faces.domains.avatars, domtrans_faces.domains.portraits, domtrans.data.render_worker"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
