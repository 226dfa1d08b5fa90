"""No part of a training step makes the host wait for a GPU. Every part that is registered is tried, without a GPU."""

import inspect
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from domtrans import Outputs, Part
from domtrans.model.image_sizes import reads_maps
from domtrans.recipe.schema import OptimizerConfig
from domtrans.registry.image_sizes import sizes_of
from domtrans.registry.parts import positional_parameters
from domtrans.training.optim import Optimizer
from domtrans_interop import torch_optimizer
from dots import Dots
from fake_gpu import GPU, AnyValue, GpuWaits, fake_gpu, make_up_gradients
from tiny import registry, write_bars

BATCH, SIZE, FEATURES, VALUES = 4, 32, 8, 4
"""Images of a batch, their side, their features, and their classes or the values of a parameter."""
OPTIONS = {
    "lines": {"width": 0.5},
    "chain": {"steps": ["flip", "blur"]},
    "perceptual": {"encoder": {"name": "map-encoder", "width": 4}},
    "ensemble": {"encoders": [{"name": "attributes", "width": 4}, {"name": "attributes", "width": 4}]},
    "predictions": {"of": {"name": "attributes", "width": 4}},
    "attribute-probe": {"backbone": {"name": "colour-grid"}},
    "joint-discriminator": {"of": [{"name": "patch-discriminator", "width": 4}, {"name": "image-discriminator", "width": 4}]},
}
NEED_FILES = {"onnx"}
WAIT = {"kornia"}
WAITING_ALGORITHMS = {"ASGD", "Adafactor"}
"""Their docstrings say so. ASGD does not wait if it is capturable."""
ALGORITHMS = sorted(
    name
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value)
    and issubclass(value, torch.optim.Optimizer)
    and name not in torch_optimizer.UNSUITABLE | {"Optimizer"}
)


def names(kind):
    return sorted(set(registry().names(kind)) - NEED_FILES - WAIT)


def build(kind, name, *arguments, **options):
    """A part on the fake GPU, with narrow layers if it has an option for their width."""
    narrow = {"width": 4} if "width" in inspect.signature(registry().get(kind, name).factory).parameters else {}
    part = registry().build(kind, Part(name=name, options=narrow | OPTIONS.get(name, {}) | options), *arguments)
    return part.to(GPU) if isinstance(part, nn.Module) else part


def some_outputs():
    """All that a loss may read."""
    images, features, logits = ((BATCH, 3, SIZE, SIZE), (BATCH, FEATURES), (BATCH, 3))
    shapes = dict.fromkeys(("source", "target", "source_fake", "target_fake", "source_second_fake"), images)
    shapes |= {f"{name}_features": features for name in ("source", "target", "source_fake", "target_fake")}
    shapes |= {f"{name}_logits": logits for name in ("target", "source_fake", "target_fake")}
    slots = {f"{name}_parameters": [torch.empty(BATCH, VALUES, device=GPU)] * 2 for name in ("source_fake", "target_fake")}
    return Outputs(
        **{name: torch.empty(shape, device=GPU) for name, shape in shapes.items()},
        **slots,
        target_parameters=torch.empty(BATCH, 2, dtype=torch.int64, device=GPU),
        source_labels=torch.empty(BATCH, dtype=torch.int64, device=GPU),
        source_classes=tuple(str(number) for number in reversed(range(VALUES))),
        discriminate=lambda images, domain: images.mean((2, 3)),
        classify=lambda features: features,
        align=lambda features: features,
    )


@pytest.mark.parametrize("name", names("loss"))
def test_a_loss_does_not_wait(tmp_path, name):
    needed = {"target": {"name": "arrays", "path": write_bars(tmp_path / "bars.npz"), "holdout": 0.25}, "steps": 1}
    options = needed if name == "oracle-consistency" else {}
    loss = registry().build("loss", Part(name=name, options=options))  # it may fit a network, which takes values
    with fake_gpu():
        loss.to(GPU)
        outputs = some_outputs()
        with AnyValue():  # the first step may make what later steps use
            loss(outputs)
        with GpuWaits():
            assert loss(outputs).device.type == "cuda"
            loss.observe(outputs)


@pytest.mark.parametrize("name", names("distance"))
def test_a_distance_does_not_wait(name):
    distance = registry().build("distance", Part(name=name, options=OPTIONS.get(name, {})))
    shape = (BATCH, 3, SIZE, SIZE) if name == "perceptual" else (BATCH, 32)  # "attributes" needs 32 predictions
    with fake_gpu(), GpuWaits():
        compared = torch.empty(shape, device=GPU)
        assert distance(compared, compared, lambda features: features).device.type == "cuda"


@pytest.mark.parametrize("name", names("augmentation"))
def test_an_augmentation_does_not_wait(name):
    with fake_gpu():
        augment = build("augmentation", name)
        with GpuWaits():
            images = torch.empty(BATCH, 3, SIZE, SIZE, device=GPU)
            assert augment(images, None).shape == images.shape


@pytest.mark.parametrize("name", names("encoder"))
def test_an_encoder_does_not_wait(name):
    with fake_gpu():
        f = build("encoder", name, side("encoder", name), VALUES).eval()
        with GpuWaits():
            features = f(torch.empty(BATCH, f.channels, side("encoder", name), side("encoder", name), device=GPU))
            assert features.device.type == "cuda" and (not f.heads or f.logits(features).device.type == "cuda")


@pytest.mark.parametrize("name", names("generator"))
def test_a_generator_does_not_wait(name):
    factory, size = registry().get("generator", name).factory, side("generator", name)
    shape = (FEATURES, 8, 8) if reads_maps(factory) else (FEATURES,)
    engine = [Dots(0)] if "engine" in positional_parameters(factory) else []
    with fake_gpu():
        g = build("generator", name, shape if len(shape) > 1 else FEATURES, 3, size, *engine)
        read = torch.empty(BATCH, *((3, size, size) if g.reads_images else shape), device=GPU)
        with GpuWaits():
            assert {g.train(mode)(read).device.type for mode in (True, False)} == {"cuda"}


@pytest.mark.parametrize("name", names("discriminator"))
def test_a_discriminator_does_not_wait(name):
    size = side("discriminator", name)
    with fake_gpu():
        discriminator = build("discriminator", name, 3, size)
        with GpuWaits():
            assert discriminator(torch.empty(BATCH, 3, size, size, device=GPU)).device.type == "cuda"


def side(kind, name):
    """An image size that a network supports."""
    sizes = sizes_of(registry().get(kind, name).factory)
    return SIZE if sizes is None or SIZE in sizes else sizes[0]


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("name", [*sorted(set(names("optimizer")) - {"torch"}), *ALGORITHMS])
def test_an_optimizer_does_not_wait(name, capturable):
    options = {"name": "torch", "algorithm": name} if name in ALGORITHMS else {"name": name}
    if capturable and name in ALGORITHMS and "capturable" not in inspect.signature(getattr(torch.optim, name)).parameters:
        pytest.skip("train.capture refuses it")
    if (name, capturable) == ("sgd", True):
        pytest.skip("its constructor compares the learning rate with 0; test_captured.py records its steps")
    with fake_gpu():
        network = nn.Linear(FEATURES, FEATURES, bias=False).to(GPU)  # Muon takes matrices only
        with AnyValue():  # an algorithm may begin with a wait
            optimizer = Optimizer(registry(), network, OptimizerConfig(**options, lr=0.1), steps=4, capturable=capturable)
            make_up_gradients(network)
            optimizer.step()
        waits = name in WAITING_ALGORITHMS and not capturable
        with GpuWaits(), pytest.raises(DataDependentOutputException) if waits else nullcontext():
            optimizer.set_learning_rate(1)
            optimizer.step()
