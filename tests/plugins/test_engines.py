"""Domains that an engine draws: the differentiable renderer e, g of parameters, its losses, and runs by parameters."""

import copy

import numpy as np
import pytest
import torch

from domtrans import (
    Choice,
    Colour,
    DomtransError,
    DrawingEngine,
    ImageSet,
    Outputs,
    ParameterSpace,
    RenderedDomain,
    RenderedSet,
    Session,
    find_recipe,
    load,
    override,
    testing,
    train,
    use,
)
from domtrans.benchmark.plain_loop import PlainLoop, fixed_batch
from domtrans.evaluation.parameter_reader import fit_parameter_reader
from domtrans_engines.generator import ParameterGenerator
from domtrans_engines.renderer import DifferentiableRenderer, RendererFit, fit_renderer, one_hot
from domtrans_engines.sampling import choose, value_groups
from loss_formulas import RNG
from tiny import registry, tiny_trainer

SPACE = ParameterSpace(
    {
        "shape": Choice(("none", "bar", "square")),
        "side": Choice(("left", "right")),
        "shapeColor": Colour(("#ff0000", "#00c040", "#3060ff")),
        "backgroundColor": Colour(("#ffffff", "#202020")),
    },
    {"side": {"shape": ("bar", "square")}, "shapeColor": {"shape": ("bar", "square")}},
)
SIZES = list(SPACE.sizes)
FIT = RendererFit(steps=150, batch_size=16, lr=2e-2)


class Flag(DrawingEngine):
    """A bar or a square on the left or right of a plain background."""

    space = SPACE

    def to_svg(self, parameters):
        width = {"none": 0, "bar": 4, "square": 8}[parameters["shape"]]
        x = 4 if parameters["side"] == "left" else 20
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
            f'<rect width="32" height="32" fill="{parameters["backgroundColor"]}"/>'
            f'<rect x="{x}" y="8" width="{width}" height="8" fill="{parameters["shapeColor"]}"/></svg>'
        )

    def attributes(self, parameters):
        drawn = parameters["shape"] != "none"
        colour = {"colour": "red" if parameters["shapeColor"] == "#ff0000" else "other"} if drawn else {}
        return {"drawn": "yes" if drawn else "no"} | colour


def draw_flags(numbers, *, split):
    for number in numbers:
        rng = np.random.default_rng([number, split == "test"])
        parameters = SPACE.parameters([int(rng.integers(size)) for size in SIZES])
        yield Flag().rasterise(parameters, 32), {"kind": parameters["shape"]}, parameters


@RenderedDomain
def flags(split, size, *, count: int = 60):
    vocabulary = {"kind": ("none", "bar", "square")}
    return RenderedSet(draw_flags, {"split": split}, 32, count, vocabulary, "flags", engine=Flag())


@pytest.fixture(scope="module")
def drawings():
    return flags("train", 32, count=120)


@pytest.fixture(scope="module")
def fitted(drawings):
    torch.manual_seed(0)
    renderer = DifferentiableRenderer(SPACE, 32, width=8)
    session = Session.start("cpu", precision="float32")
    return renderer, fit_renderer(renderer, drawings, session, FIT)


def every_drawing():
    grid = torch.cartesian_prod(*(torch.arange(size) for size in SIZES))
    images = np.stack([Flag().rasterise(SPACE.parameters(row), 32) for row in grid.tolist()])
    return grid, torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1


# e


def test_e_draws_what_the_engine_draws(fitted):
    renderer, error = fitted
    grid, images = every_drawing()
    with torch.no_grad():
        difference = 127.5 * (renderer(one_hot(grid, SIZES)) - images).abs().mean()
    assert error < 3 and difference < 3


@pytest.mark.parametrize(("start", "goal"), [([1, 0, 0, 0], [1, 0, 2, 1]), ([2, 1, 1, 1], [1, 1, 1, 1])])
def test_the_gradient_of_e_tells_how_to_change_the_parameters(fitted, start, goal):
    """In every slot that differs, the gradient prefers the value of the goal to that of the start."""
    renderer, _ = fitted
    grid, images = every_drawing()
    weights = one_hot(torch.tensor([start]), SIZES).requires_grad_(True)
    wanted = images[grid.tolist().index(goal)]
    (gradient,) = torch.autograd.grad((renderer(weights) - wanted).square().mean(), weights)
    for slot, before, after in zip(gradient[0].split(SIZES), start, goal, strict=True):
        assert before == after or slot[after] < slot[before]


def test_e_draws_colours_that_it_has_not_seen(fitted):
    """A mixture of two colours of the palette is drawn in the mixed colour."""
    renderer, _ = fitted
    weights = one_hot(torch.tensor([[2, 1, 0, 0]]), SIZES)
    weights[0, 5:8] = torch.tensor([0.5, 0.0, 0.5])
    with torch.no_grad():
        pixel = renderer(weights)[0, :, 12, 24]
    red, blue = torch.tensor([255, 0, 0]), torch.tensor([48, 96, 255])
    assert torch.allclose(pixel, (red + blue) / 255 - 1, atol=0.15)


def test_a_fitted_e_comes_from_the_cache(drawings, fitted):
    other = DifferentiableRenderer(SPACE, 32, width=8)
    error = fit_renderer(other, drawings, Session.start("cpu", precision="float32"), FIT)
    assert error == fitted[1]
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), fitted[0].parameters(), strict=True))


# g


def generator(**options):
    torch.manual_seed(0)
    return ParameterGenerator(8, 3, 32, Flag(), **{"hidden": 16, "renderer_width": 8} | options)


def test_g_begins_with_the_shares_of_the_drawings(drawings):
    g = generator(renderer_steps=2)
    g.prepare(drawings, Session.start("cpu", precision="float32"))
    shares = torch.cat([logits.softmax(1).mean(0) for logits in g.parameter_logits(torch.randn(64, 8))])
    known = [column[column >= 0].bincount(minlength=size) for column, size in zip(drawings.parameters.T, SIZES, strict=True)]
    assert torch.allclose(shares, torch.cat([counts / counts.sum() for counts in known]), atol=0.05)


def test_only_the_layers_of_g_learn_and_all_of_it_is_saved():
    g = generator()
    assert all(name.startswith("layers.") for name, _ in g.named_parameters())
    assert {"renderer.maps.0", "renderer.correction.0.weight"} <= set(g.state_dict())
    g.train()(torch.randn(4, 8)).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in g.parameters())


def test_an_image_always_gets_the_same_parameters():
    """The noise is a function of the features: it depends neither on the batch nor on the call, and differs between images."""
    g = generator(temperature=1.0).train()
    features = torch.randn(200, 8)
    for _ in range(50):
        g(features[torch.randint(200, (32,))])
    g.eval()
    together = g.parameter_indices(features)
    assert torch.equal(together, torch.cat([g.parameter_indices(each) for each in features.split(7)]))
    assert len(together.unique(dim=0)) > 20
    likely = g.parameter_logits(features)[0].softmax(1).mean(0)
    drawn = together[:, 0].bincount(minlength=3) / 200
    assert torch.allclose(likely, drawn, atol=0.12), "as often as g believes in them"


def test_noise_with_a_frequency_is_even_where_features_differ_less_than_in_training():
    g = generator(temperature=1.0, noise_frequency=20.0).train()
    for _ in range(50):
        g(torch.randn(32, 8))
    g.eval()
    alike = 1 + 0.2 * torch.randn(400, 8)
    drawn = g.parameter_indices(alike)
    assert torch.equal(drawn, torch.cat([g.parameter_indices(each) for each in alike.split(7)]))
    for logits, values in zip(g.parameter_logits(alike), drawn.unbind(1), strict=True):
        shares = values.bincount(minlength=logits.shape[1]) / len(alike)
        assert torch.allclose(logits.softmax(1).mean(0), shares, atol=0.12), "as often as g believes in them"


def test_without_temperature_g_draws_the_most_likely_values():
    g = generator(temperature=0.0).eval()
    features = torch.randn(20, 8)
    wanted = torch.stack([logits.argmax(1) for logits in g.parameter_logits(features)], 1)
    assert torch.equal(g.parameter_indices(features), wanted)
    assert torch.allclose(g(features), g.renderer(one_hot(wanted, SIZES)), atol=1e-5)


def groups(attributes):
    return [each.int().tolist() for each in value_groups(Flag(), attributes)]


def test_values_that_show_the_same_are_a_group():
    shape, side, colour, background = groups(["drawn", "colour"])
    assert shape == [[1, 0, 0], [0, 1, 1]] and colour == [[1, 0, 0], [0, 1, 1]]
    assert side == background == [[1, 1]]
    assert groups([]) == [[[1] * size] for size in SIZES]
    with pytest.raises(DomtransError, match=r"have no attribute 'hair' \(the engine has colour, drawn\)"):
        generator(followed=["hair"])


def test_the_temperatures_of_groups_and_of_their_values_are_apart():
    logits = torch.tensor([2.0, 1.5, 1.2, -1.0]).expand(20_000, 4)
    members = torch.tensor([[True, False, False, False], [False, True, True, False], [False, False, False, True]])
    noise = -torch.log(-torch.log(torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)))

    def shares(temperature, group_temperature):
        return choose(logits, noise, temperature, members, group_temperature).bincount(minlength=4) / len(logits)

    assert torch.allclose(shares(1.0, 1.0), logits[0].softmax(0), atol=0.01), "the softmax of the logits"
    likely = shares(1.0, 0.0)
    assert likely[1:3].sum() == 1, "e^1.5 + e^1.2 > e^2, so that the second group is the most likely one"
    assert torch.allclose(likely[1:3], logits[0, 1:3].softmax(0), atol=0.01)
    assert torch.equal(shares(0.0, 0.0), torch.tensor([0.0, 1.0, 0.0, 0.0]))
    grouped, whole = shares(0.0, 1.0), logits[0].softmax(0)
    assert torch.allclose(grouped, torch.tensor([whole[0], whole[1] + whole[2], 0.0, whole[3]]), atol=0.01)


def test_what_g_draws_of_a_followed_attribute_is_what_is_most_likely():
    features = torch.randn(200, 8)
    g = generator(temperature=1.0, followed=["drawn"], followed_temperature=0.0).eval()
    shape = g.parameter_indices(features)[:, 0]
    likely = g.parameter_logits(features)[0].softmax(1)
    assert torch.equal(shape > 0, likely[:, 0] < 0.5)
    assert {1, 2} <= set(shape.tolist())
    free = generator(temperature=1.0).eval().parameter_indices(features)
    assert torch.equal(free[:, 1:], g.parameter_indices(features)[:, 1:]), "all else is as without"


def test_g_keeps_the_contracts_of_generators():
    testing.check_generator(ParameterGenerator, channels=3, engine=Flag(), hidden=16, renderer_width=8)


def test_a_target_without_an_engine_is_refused():
    with pytest.raises(DomtransError, match="needs a target in colour that a drawing engine draws"):
        ParameterGenerator(8, 3, 32, None)
    with pytest.raises(DomtransError, match="no slot of this engine is a choice"):
        DifferentiableRenderer(ParameterSpace({"ground": Colour(("#ffffff",))}), 32)
    with pytest.raises(DomtransError, match="the target has no parameters"):
        generator().prepare(ImageSet(torch.zeros(4, 3, 32, 32, dtype=torch.uint8)), Session.start("cpu"))


# Losses against their formulas in NumPy


def softmax(logits):
    exponential = np.exp(logits - logits.max(1, keepdims=True))
    return exponential / exponential.sum(1, keepdims=True)


def slots(*sizes):
    return [RNG.normal(size=(5, size)) for size in sizes]


def as_tensors(arrays):
    return tuple(torch.tensor(array) for array in arrays)


def test_parameter_identity_is_the_cross_entropy_of_what_shows():
    logits, known = slots(3, 4), np.array([[0, 3], [2, -1], [1, 0], [-1, -1], [2, 2]])
    wanted = 0.0
    for slot, values in zip(logits, known.T, strict=True):
        wanted -= sum(np.log(softmax(slot)[row, value]) for row, value in enumerate(values) if value >= 0) / 5
    loss = registry().build("loss", use("parameter-identity"))
    outputs = Outputs(target_fake_parameters=as_tensors(logits), target_parameters=torch.tensor(known))
    assert loss(outputs).item() == pytest.approx(wanted, rel=1e-9)


def test_parameter_balance_is_the_divergence_of_the_mean_shares():
    source, target = slots(3, 4), slots(3, 4)
    wanted = sum((q := softmax(b).mean(0)) @ np.log(q / softmax(a).mean(0)) for a, b in zip(source, target, strict=True))
    loss = registry().build("loss", use("parameter-balance"))
    found = loss(Outputs(source_fake_parameters=as_tensors(source), target_fake_parameters=as_tensors(target)))
    assert found.item() == pytest.approx(wanted, rel=1e-9)
    same = loss(Outputs(source_fake_parameters=as_tensors(source), target_fake_parameters=as_tensors(source)))
    assert same.item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(DomtransError, match=r"compares both domains in one batch; set train\.updates=joint"):
        loss(Outputs(source_fake_parameters=as_tensors(source)))


# Runs


def with_flags():
    return registry().with_part("domain", "flags", flags)


SMALL = {
    "source": {"name": "portraits", "count": 16, "test_count": 8},
    "target": {"name": "flags", "count": 40},
    "image_size": 32,
    "encoder": {"name": "attributes", "width": 4, "features": 8},
    "fit.steps": 2,
    "fit.batch_size": 4,
    "generator": {"name": "parameters", "hidden": 8, "renderer_width": 4, "renderer_steps": 4, "renderer_batch_size": 4},
    "discriminator.width": 4,
    "metrics": {},
    "train.steps": 4,
    "train.batch_size": 4,
    "train.log_every": 1,
    "train.precision": "float32",
}


def small_recipe(**changes):
    wanted = SMALL | {path.replace("__", "."): value for path, value in changes.items()}
    return override(find_recipe("avatars-dtn", with_flags()), wanted, with_flags())


def trainer_of(recipe):
    return tiny_trainer(recipe, with_flags())


def test_every_loss_reaches_g_and_nothing_changes_e():
    trainer = trainer_of(small_recipe())
    before = copy.deepcopy(trainer.g.state_dict())
    losses = [trainer.step() for _ in range(4)][-1]
    assert {"generator.gan", "generator.const", "generator.tid", "generator.balance", "discriminator.gan"} <= set(losses)
    assert all(torch.isfinite(value) for value in losses.values())
    for name, tensor in trainer.g.state_dict().items():
        if name.startswith(("layers", "renderer")):
            assert torch.equal(tensor, before[name]) == name.startswith("renderer"), name


@pytest.mark.parametrize("name", ["gan", "const", "tid", "balance"])
def test_g_learns_from_each_loss_alone(name):
    recipe = small_recipe()
    trainer = trainer_of(recipe.model_copy(update={"generator_losses": {name: recipe.generator_losses[name]}}))
    trainer.step_number = 2  # after the start of the adversarial loss
    before = trainer.g.layers[0].weight.clone()
    trainer.step()
    assert not torch.equal(trainer.g.layers[0].weight, before)


def test_only_a_loss_that_declares_them_gets_the_parameters_of_the_target():
    trainer = trainer_of(small_recipe())
    seen = {}
    for item in trainer.experiment.generator_losses:
        item.loss.register_forward_pre_hook(
            lambda loss, arguments, name=item.name: seen.update({name: arguments[0].target_parameters})
        )
    trainer.step_number = 2
    trainer.step()
    assert {name for name, parameters in seen.items() if parameters is not None} == {"tid"}
    assert trainer.target.labels is None and not trainer.target.attributes


def test_bfloat16_trains():
    trainer = trainer_of(small_recipe(train__precision="bf16"))
    assert all(torch.isfinite(value) for _ in range(3) for value in trainer.step().values())


CONSTANT = {"train__generator_optimizer__schedule": "constant", "train__discriminator_optimizer__schedule": "constant"}


def test_a_resumed_run_ends_like_one_that_never_stopped(tmp_path):
    train(small_recipe(train__steps=2, **CONSTANT), tmp_path / "parts", registry=with_flags())
    resumed = train(small_recipe(**CONSTANT), tmp_path / "parts", registry=with_flags(), resume=True)
    once = train(small_recipe(**CONSTANT), tmp_path / "once", registry=with_flags())
    weights = once.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in resumed.model.state_dict().items())
    assert once.results["supervision"] == "parameters of target drawings"


def test_a_loaded_run_draws_with_the_engine(tmp_path):
    """Final pictures are the engine's own; the weights of e come from the model file, and no drawing is needed."""
    train(small_recipe(), tmp_path / "run", registry=with_flags())
    run = load(tmp_path / "run", registry=with_flags())
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    rows = run.model.parameter_indices(images)
    wanted = np.stack([Flag().rasterise(SPACE.parameters(row), 32) for row in rows.tolist()])
    assert torch.equal(run.model.pictures(images), torch.from_numpy(wanted).permute(0, 3, 1, 2))
    assert run.generator.renderer.maps[0].abs().sum() > 0


def test_the_benchmark_takes_the_recipe():
    """The plain loop computes the same losses as the trainer, but for their random numbers."""
    trainer = trainer_of(small_recipe())
    trainer.step_number = 2
    size = trainer.config.batch_size
    plain = PlainLoop(trainer, fixed_batch(trainer.source, trainer.target, size))
    assert plain.step().keys() == {name for name in trainer.step() if name.startswith(("generator.", "discriminator.g"))}


def test_parts_that_need_parameters_say_so():
    with pytest.raises(DomtransError, match=r"'parameter-identity' reads the parameters of G.x., but the generator 'face-gen"):
        trainer_of(small_recipe(generator={"name": "face-generator", "width": 4}))
    pixels = override(small_recipe(), {"target": {"name": "portraits", "count": 16}}, with_flags())
    with pytest.raises(DomtransError, match="needs a target in colour that a drawing engine draws, such as 'avatars'"):
        trainer_of(pixels)


# c


def test_c_reads_damaged_drawings(drawings):
    session = Session.start("cpu", precision="float32")
    before = torch.get_rng_state()
    reader, shares = fit_parameter_reader(drawings, session, steps=100, batch_size=16, lr=5e-3)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(shares) == set(SPACE.names) and min(shares.values()) > 0.7
    test = flags("test", 32, count=40)
    read, known = reader.read(test), test.parameters
    assert (read == known)[known >= 0].float().mean() > 0.8
    with pytest.raises(DomtransError, match="fitted on drawings with their parameters"):
        fit_parameter_reader(drawings.unlabelled(), session)
