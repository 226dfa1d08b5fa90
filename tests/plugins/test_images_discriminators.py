"""D on the features of fixed networks, and several D's as one."""

import threading

import pytest
import torch
from torch import nn

from domtrans import DomtransError, Outputs, Stopped, override, use
from domtrans_images.fixed_network import FixedNorm, fixed
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go, stop_at, unlike

SMALL = [{"name": "map-encoder", "width": 4, "features": 6, "stride": stride} for stride in (4, 16)]
FEATURES = {"name": "feature-discriminator", "width": 8, "encoders": [*SMALL, {"name": "digit-encoder"}]}
JOINT = {
    "name": "joint-discriminator",
    "of": [
        {"name": "patch-discriminator", "width": 4, "layers": 1, "norm": "none"},
        {"name": "image-discriminator", "width": 4, "norm": "none"},
    ],
}


def build(part, *arguments, kind="discriminator"):
    torch.manual_seed(0)
    return registry().build(kind, use(**part), *arguments)


@pytest.mark.parametrize("name", ["patch-discriminator", "image-discriminator", "face-discriminator", "digit-discriminator"])
def test_auto_conditions_d_on_as_many_classes_as_f_has(name):
    weights = [build({"name": name, "width": 4, "classes": classes}, 3, 32, 5).state_dict() for classes in ("auto", 5)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert build({"name": name, "width": 4, "classes": "auto"}, 3, 32, 5).condition_classes == 5
    assert build({"name": name, "width": 4}, 3, 32, 5).condition_classes == 0


def recipe_with(folder, discriminator, **changes):
    changed = override(tiny_recipe(folder, discriminator__classes=0), {"discriminator": discriminator}, registry())
    return override(changed, {path.replace("__", "."): value for path, value in changes.items()}, registry())


def networks(discriminator):
    return [scale.encoder for scale in discriminator.scales]


def test_a_fixed_network_gives_what_it_gave_and_has_no_parameters():
    encoder = build({"name": "map-encoder", "width": 4, "features": 6}, 32, 0, kind="encoder")
    images = torch.rand(4, 3, 32, 32)
    encoder.train()(images)  # so that the batch norms have statistics
    wanted = encoder.eval()(images)
    still = fixed(encoder)
    torch.testing.assert_close(still(images), wanted)
    assert not list(still.parameters()) and not any(isinstance(module, nn.BatchNorm2d) for module in still.modules())
    assert any(isinstance(module, FixedNorm) for module in still.modules())


@pytest.mark.parametrize("updates", ["joint", "separate"])
def test_only_the_heads_of_a_d_of_features_learn(tmp_path, updates):
    trainer = tiny_trainer(recipe_with(tmp_path, FEATURES, train__updates=updates))
    assert not trainer.D_has_batch_norm
    before = {name: tensor.clone() for name, tensor in trainer.D.state_dict().items()}
    trainer.step_number = 2
    trainer.step()
    assert not any(network.training for network in networks(trainer.D))
    changed = {name for name, tensor in trainer.D.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(".head." in name for name in changed)
    assert all(f"scales.{number}.head.0.parametrizations.weight.original" in changed for number in range(3))


def test_every_network_of_a_d_of_features_counts_alike():
    judge = build(FEATURES, 1, 32).eval()
    images = torch.rand(2, 1, 32, 32)
    found = judge(images)
    heads = [scale(images)[:, 0] for scale in judge.scales]  # 4 x 4 patches, 1 and 1
    assert [tuple(each.shape[2:]) for each in heads] == [(4, 4), (2, 2), (1, 1)]
    assert found.shape == (2, 3, 48, 1)
    torch.testing.assert_close(found.mean((2, 3)), sum(each.mean((2, 3)) for each in heads) / 3)


def test_a_conditional_d_of_features_has_as_many_classes_as_f(tmp_path):
    trainer = tiny_trainer(recipe_with(tmp_path, FEATURES | {"classes": "auto"}))
    assert trainer.D.condition_classes == trainer.f.classes() > 0
    trainer.step_number = 2
    assert torch.isfinite(trainer.step()["discriminator.gan"])


def test_a_run_with_a_d_of_features_resumes_bit_for_bit(tmp_path):
    recipe = recipe_with(tmp_path, FEATURES, discriminator_losses__r1="gradient-penalty")
    stop = threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "parts", listeners=(stop_at(2, stop),), stop=stop)
    assert not unlike(go(recipe, tmp_path / "whole"), go(recipe, tmp_path / "parts"))


def test_a_loss_of_a_joint_d_is_the_mean_over_its_members(tmp_path):
    trainer = tiny_trainer(recipe_with(tmp_path, JOINT))
    images = {
        "source_fake": torch.rand(2, 1, 32, 32),
        "target_fake": torch.rand(2, 1, 32, 32),
        "target": torch.rand(2, 1, 32, 32),
    }
    loss = registry().build("loss", use("ternary-discriminator"))
    found = loss(trainer.judge(Outputs(**images), *images))
    whole, patches = trainer.D.of[1], trainer.D.of[0]
    members = []
    for judge in (whole, patches):
        trainer.forward_D = judge
        members.append(loss(trainer.judge(Outputs(**images), *images)))
    torch.testing.assert_close(found, sum(members) / 2)


def test_a_joint_d_passes_the_condition_to_those_that_have_one():
    of = [{"name": "patch-discriminator", "width": 4, "classes": 3}, {"name": "image-discriminator", "width": 4}]
    judge = build({"name": "joint-discriminator", "of": of}, 1, 32).eval()
    assert judge.condition_classes == 3
    images, classes = torch.rand(2, 1, 32, 32), torch.eye(3)[:2]
    patches = judge.of[0](images, classes).flatten(2)
    found = judge(images, classes)
    torch.testing.assert_close(found[:, :, : patches.shape[-1], 0], patches)
    assert not torch.equal(judge(images)[:, :, 0], found[:, :, 0])


def test_a_member_can_have_as_many_classes_as_f(tmp_path):
    of = [{"name": "digit-discriminator", "width": 4, "classes": "auto"}, {"name": "image-discriminator", "width": 4}]
    trainer = tiny_trainer(recipe_with(tmp_path, {"name": "joint-discriminator", "of": of}))
    assert trainer.D.condition_classes == trainer.f.classes() > 0


def test_members_with_different_conditions_are_refused():
    of = [{"name": "patch-discriminator", "classes": count} for count in (3, 4)]
    with pytest.raises(DomtransError, match="conditions of 3 and 4 classes; give all of them the number of classes"):
        build({"name": "joint-discriminator", "of": of}, 1, 32)
