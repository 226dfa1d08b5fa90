"""Parts of other libraries: metrics of torchmetrics, augmentations of kornia."""

import importlib.util
import sys
import types

import pytest
import torch
from torch import nn

from domtrans import DomtransError, load, load_domain, use
from domtrans.testing import check_augmentation
from tiny import registry, tiny_recipe
from tiny_runs import go

HAS_KORNIA = importlib.util.find_spec("kornia") is not None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return go(tiny_recipe(root, metrics__digits="none"), root / "run")


def measure(run, **options):
    return run.evaluate({"metrics": {"one": {"name": "torchmetrics", **options}}})


# torchmetrics


def test_a_metric_of_pairs_compares_target_images_with_g_of_them(run):
    found = measure(run, metric="PeakSignalNoiseRatio", arguments={"data_range": 1.0}, key="psnr")
    target = load_domain(registry(), run.recipe.target, "test", 32)
    made = run.model.apply_to(target)
    error = (made.float() - target.images.float()).div(255).square().mean()
    assert found["psnr"] == pytest.approx(float(-10 * error.log10()), rel=1e-4)


def test_a_metric_of_images_alone_gets_the_transferred_ones(run):
    found = measure(run, metric="TotalVariation", arguments={"reduction": "mean"})
    assert set(found) >= {"total_variation"} and found["total_variation"] > 0


class Distance(nn.Module):
    """Stands in for a metric of distributions, which would download a network."""

    def __init__(self, *, shift: float = 0.0) -> None:
        super().__init__()
        self.shift, self.seen = shift, {True: [], False: []}

    def update(self, images, real):
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        self.seen[real].append(images.float())

    def compute(self):
        means = [torch.cat(self.seen[real]).mean() for real in (True, False)]
        return means[0] - means[1] + self.shift, torch.tensor(2.0)


def test_a_metric_of_distributions_gets_real_target_images_and_transferred_ones(run, monkeypatch):
    import torchmetrics.image

    monkeypatch.setattr(torchmetrics.image, "Distance", Distance, raising=False)
    monkeypatch.setattr(torchmetrics.image, "__all__", [*torchmetrics.image.__all__, "Distance"])
    monkeypatch.setattr(torchmetrics, "Metric", nn.Module)
    found = measure(run, metric="Distance", arguments={"shift": 1}, values="uint8", key="d")
    assert set(found) >= {"d_mean", "d_std"} and found["d_std"] == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"metric": "PeakSignalNoiseRatios"}, r"no metric 'PeakSignalNoiseRatios' \(did you mean 'PeakSignalNoiseRatio'\?\)"),
        ({"metric": "Metric"}, "no metric 'Metric'"),
        ({"metric": "TotalVariation", "arguments": {"a": 1}}, "TotalVariation cannot be built from these arguments: .*a"),
        ({"metric": "TotalVariation", "pairs": "both"}, "option 'pairs'"),
    ],
)
def test_a_wrong_metric_is_refused_in_a_sentence(run, options, message):
    with pytest.raises(DomtransError, match=message):
        measure(run, **options)


# kornia


class Brighter(nn.Module):
    """Stands in for a transform of kornia: it draws from torch's global generator."""

    def __init__(self, amount: float = 0.2) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, images):
        assert images.min() >= 0 and images.max() <= 1
        return images * (1 - self.amount * torch.rand(len(images), 1, 1, 1, device=images.device))


class Crop(Brighter):
    """It changes the shape."""

    def forward(self, images):
        return images[..., 1:, 1:]


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType("kornia.augmentation")
    module.AugmentationBase2D, module.Brighter, module.Crop = nn.Module, Brighter, Crop
    monkeypatch.setitem(sys.modules, "kornia", types.ModuleType("kornia"))
    monkeypatch.setitem(sys.modules, "kornia.augmentation", module)


def test_an_augmentation_keeps_the_contract(stand_in):
    check_augmentation(registry(), "kornia", transform="Brighter", arguments={"amount": 0.5})


def test_an_augmentation_leaves_the_global_generator_alone(stand_in):
    augment = registry().build("augmentation", use("kornia", transform="Brighter"))
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    images = augment(torch.zeros(2, 3, 8, 8), torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(2), wanted)
    assert not torch.equal(images[0], images[1]), "every image is transformed differently"


def test_a_run_trains_with_a_view_of_kornia(stand_in, tmp_path):
    steps = [{"name": "kornia", "transform": "Brighter"}, {"name": "noise"}]
    run = go(tiny_recipe(tmp_path, metrics__digits="none", view={"name": "chain", "steps": steps}), tmp_path / "run")
    assert load(run.path, device="cpu", registry=registry()).recipe.view == run.recipe.view


@pytest.mark.parametrize(
    "transform, arguments, message",
    [
        ("Brightr", {}, r"no augmentation of images 'Brightr' \(did you mean 'Brighter'\?\)"),
        ("Brighter", {"a": 1}, "Brighter cannot be built from these arguments: .*a"),
        ("Crop", {}, r"Crop turns images of the shape \[3, 8, 8\] into \[3, 7, 7\]"),
    ],
)
def test_a_wrong_augmentation_is_refused_in_a_sentence(stand_in, transform, arguments, message):
    with pytest.raises(DomtransError, match=message):
        augment = registry().build("augmentation", use("kornia", transform=transform, arguments=arguments))
        augment(torch.zeros(1, 3, 8, 8), torch.Generator())


def test_without_kornia_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    with pytest.raises(DomtransError, match=r"an augmentation of kornia needs .* pip install 'domtrans\[kornia\]'"):
        registry().build("augmentation", use("kornia", transform="RandomAffine"))


@pytest.mark.skipif(not HAS_KORNIA, reason="the extra domtrans[kornia] is not installed")
def test_transforms_of_kornia_itself_keep_the_contract():
    for transform, arguments in {
        "RandomAffine": {"degrees": 20.0, "p": 1.0},
        "ColorJiggle": {"brightness": 0.2, "p": 1.0},
        "RandomGaussianBlur": {"kernel_size": 3, "sigma": [0.5, 1.0], "p": 1.0},
    }.items():
        check_augmentation(registry(), "kornia", transform=transform, arguments=arguments)
