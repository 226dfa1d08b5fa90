"""The drawing engine of the domain avatars: its slots, its drawings, and the attributes that they show."""

import random

import pytest

from domtrans import Choice, find_engine, load_domain, use
from domtrans.testing import check_engine
from domtrans_faces.domains.drawing import dicebear_style, sample_face
from domtrans_faces.domains.engine import parameters_of
from domtrans_faces.domains.styles import STYLES
from domtrans_faces.vocabulary import with_defaults
from tiny import registry


def engine(style="avataaars"):
    return find_engine(registry(), use("avatars", style=style))


def sampled(style, number):
    return sample_face(STYLES[style], with_defaults({}), random.Random(number))


@pytest.mark.parametrize("style", ["avataaars", "toon-head", "micah"])
def test_the_engine_keeps_its_contract(style):
    check_engine(registry(), "avatars", style=style, size=16, count=8)


@pytest.mark.parametrize("style", STYLES)
def test_a_sampled_face_has_its_attributes_and_all_slots(style):
    drawn = engine(style)
    for number in range(40):
        face = sampled(style, number)
        parameters = drawn.space.check(parameters_of(face))
        assert dict(drawn.attributes(parameters)) == dict(face.attributes)
        assert -1 not in drawn.space.indices(parameters)


@pytest.mark.parametrize("style", STYLES)
def test_every_variant_of_dicebear_can_be_chosen(style):
    slots = engine(style).space.slots
    for name, component in dicebear_style(style).components().items():
        variants = set(component.variants())
        if name in slots:
            assert isinstance(slots[name], Choice) and variants <= {*slots[name].values, *slots[name].extras}
        else:
            assert len(variants) == 1, "what is the same in every drawing is no parameter"


@pytest.mark.parametrize(("style", "fingerprint"), [("avataaars", "6cc01747a876c728"), ("toon-head", "f3f1ade7e399facc")])
def test_the_images_are_those_from_before_the_engine(style, fingerprint):
    """On machines with the versions of resvg and DiceBear of then; recorded runs and caches depend on the fingerprint."""
    if engine().version != "dicebear-styles 10.6.0":
        pytest.skip("other drawings")
    assert load_domain(registry(), use("avatars", style=style, count=8), "train", 32).fingerprint() == fingerprint


def test_what_does_not_show_is_hidden():
    space = engine().space
    bald = space.parameters([0] * len(space.slots)) | {
        "top": "none",
        "facialHair": "none",
        "accessories": "none",
        "clothes": "hoodie",
    }
    assert space.hidden(bald) == {"clothesGraphic", "accessoriesColor", "facialHairColor", "hairColor", "hatColor"}
    assert space.hidden(bald | {"top": "hat"}) == space.hidden(bald) - {"hatColor"}
    assert space.hidden(bald | {"top": "bun", "clothes": "graphicShirt"}) == {"accessoriesColor", "facialHairColor", "hatColor"}


def test_the_attributes_follow_an_edit():
    drawn = engine()
    face = drawn.space.check(parameters_of(sampled("avataaars", 1)))
    edited = face | {"top": "bob", "hairColor": "#ff2a00", "accessories": "round", "skinColor": "#503020", "mouth": "sad"}
    shown = drawn.attributes(edited)
    wanted = {"hair_length": "medium", "hair_colour": "red", "glasses": "yes", "skin": "dark", "mouth": "sad"}
    assert {name: shown[name] for name in wanted} == wanted
    hat = drawn.attributes(face | {"top": "hat", "accessories": "sunglasses", "mouth": "vomit"})
    assert not {"hair_length", "hair_colour", "glasses", "mouth"} & set(hat), "what the vocabulary does not name is unknown"
    assert "hair_colour" not in drawn.attributes(face | {"top": "none"})


def test_the_background_is_an_option_of_the_engine():
    drawn = find_engine(registry(), use("avatars", background="#102030"))
    picture = drawn.rasterise(drawn.space.parameters([0] * len(drawn.space.slots)), 32)
    assert picture[0, 0].tolist() == [0x10, 0x20, 0x30] and drawn.options == {"style": "avataaars", "background": "#102030"}
