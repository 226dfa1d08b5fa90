"""Image sizes: what networks support, what a refusal says, and a G that enlarges what it draws."""

import pytest
import torch

import domtrans
from commands import in_process
from domtrans import DomtransError, find_recipe, override
from domtrans.model.build import build_transfer
from domtrans.model.image_sizes import check_image_size
from tiny import registry

WITH_FACE_NETWORKS = [
    "encoder=colour-grid",
    "fit=none",
    "adapt=none",
    "train.balance_source=false",
    "generator_losses.const.distance=mse",
    "generator=face-generator",
    "generator.width=4",
    "discriminator=face-discriminator",
    "discriminator.width=4",
    "metrics=none",
    "train.steps=1",
    "train.batch_size=2",
]


def refusal(recipe, size, known=None, **changes):
    known = known or registry()
    changed = override(find_recipe(recipe, known), {"image_size": size, **changes}, known)
    with pytest.raises(DomtransError) as refused:
        check_image_size(changed, known)
    return str(refused.value)


@pytest.mark.parametrize("size", [16, 28, 48, 64, 128])
def test_a_refusal_names_every_network_and_those_that_support_the_size(size):
    said = refusal("digits-dtn", size)
    for kind, name in (("encoder", "encoder"), ("generator", "generator"), ("discriminator", "discriminator")):
        assert f"the {kind} 'digit-{name}' supports 32 pixels (for {size}: " in said
    of_any_size = size in range(32, 257, 16)
    pixels = "face-generator, image-generator" if of_any_size else "face-generator"
    assert "attributes" in said and "map-encoder" not in said and "set image_size=32" in said
    assert f"(for {size}: {pixels})" in said
    of_images = [f"{kind}-discriminator" for kind in ("face", "feature", "image", "joint", "patch")]
    others = ", ".join(of_images if of_any_size else of_images[:1])
    other = others if size >= 32 else "none is installed"
    assert f"the discriminator 'digit-discriminator' supports 32 pixels (for {size}: {other})" in said
    assert said.endswith("or choose other networks") == (size >= 32)


def test_only_the_networks_that_refuse_are_named():
    said = refusal("faces-dtn", 24)
    assert said == (
        "image_size=24 does not fit this recipe: the discriminator 'face-discriminator' supports 32 to 1,024 pixels "
        "(for 24: none is installed); set image_size=32"
    )
    with_digits = refusal("digits-dtn", 48, generator="face-generator", discriminator="face-discriminator", fit=None)
    assert "face" not in with_digits.partition("(for")[0]


def test_map_networks_are_offered_beside_a_generator_of_maps():
    said = refusal("digits-dtn", 64, generator="map-generator")
    assert "the encoder 'digit-encoder' supports 32 pixels (for 64: map-encoder)" in said


def test_f_and_g_must_agree_on_maps_or_vectors():
    def build(encoder, generator):
        changed = override(find_recipe("digits-dtn", registry()), {"encoder": encoder, "generator": generator}, registry())
        return build_transfer(changed, registry(), 10, 1)

    with pytest.raises(DomtransError, match=r"gives feature maps, and the generator 'digit-generator' reads feature vectors"):
        build("map-encoder", "digit-generator")
    with pytest.raises(DomtransError, match=r"choose a generator of vectors \(.*image-generator.*\) or an encoder of maps"):
        build("digit-encoder", "map-generator")
    assert build("map-encoder", "map-generator")(torch.zeros(2, 3, 32, 32)).shape == (2, 1, 32, 32)
    with pytest.raises(DomtransError, match="DlibResNet gives no feature vectors"):
        registry().build("encoder", domtrans.use("concat", encoders=[{"name": "dlib-resnet", "features": "inner-map"}]), 64, 0)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 256])
def test_face_networks_take_every_size_from_32(size):
    check_image_size(override(find_recipe("faces-dtn", registry()), {"image_size": size}, registry()), registry())


def test_a_network_of_a_plugin_is_offered_for_the_size_that_it_declares():
    class Small(domtrans.Discriminator):
        """D for small images."""

        sizes = (16, 24)

        def __init__(self, channels, size):
            super().__init__()

        def forward(self, images):
            return images.mean((2, 3)).expand(-1, 3)

    known = domtrans.load_plugins(only=()).registry
    known.discriminator("small", Small)
    assert "(for 16: small)" in refusal("digits-dtn", 16, known)
    assert "the discriminator 'small' supports 16 or 24 pixels (for 64: face-discriminator, " in refusal(
        "faces-dtn", 64, known, discriminator="small"
    )
    assert refusal("digits-dtn", 16, known, discriminator="small").endswith("choose other networks")
    with pytest.raises(DomtransError, match="the discriminator 'small' supports 16 or 24 pixels, not 32"):
        known.build("discriminator", domtrans.use("small"), 3, 32)


def test_a_refusal_comes_before_any_data_is_read(tmp_path, capsys):
    out = tmp_path / "run"
    code, _, said = in_process(capsys, "train", "digits-dtn", "image_size=48", "source=folder", "source.path=absent", "-o", out)
    assert code == 2 and "does not fit this recipe" in said and not out.exists()


@pytest.mark.parametrize(("size", "enlarged"), [(48, False), (96, True)])
def test_a_generator_that_enlarges_says_so_once(tmp_path, capsys, data, size, enlarged):
    out = tmp_path / "run"
    code, shown, said = in_process(capsys, "train", "digits-dtn", f"image_size={size}", *data, *WITH_FACE_NETWORKS, "-o", out)
    assert code == 0, said
    sentence = f"g draws 64 x 64 pixels, and they are enlarged to {size} x {size}; this adds no detail"
    assert (said.count(sentence), shown.count(sentence)) == (enlarged, enlarged)
    assert (sentence in (out / "report.html").read_text()) == enlarged
    assert domtrans.load(out).results["checks"].get("enlarged") == ({"from": 64, "to": size} if enlarged else None)
