"""Feature alignment: the moments of aligned features, and that only g reads them."""

import pytest
import torch
from torch import nn

from domtrans import DomtransError
from domtrans.model.alignment import FeatureAlignment
from domtrans.training.checkpoint import training_state
from tiny import tiny_recipe, tiny_trainer


def test_target_features_get_the_source_s_mean_and_covariance():
    torch.manual_seed(0)
    mixed = torch.linalg.qr(torch.randn(6, 6)).Q
    source = torch.randn(5000, 6) * torch.arange(1, 7) @ mixed + 3
    target = torch.randn(4000, 6) * torch.arange(3, 9) - 7
    aligned = FeatureAlignment.of(source, target)(target)
    assert torch.allclose(aligned.mean(0), source.mean(0), atol=1e-4)
    assert (aligned.T.cov() - source.T.cov()).norm() < 0.05 * source.T.cov().norm()  # up to the shrinkage
    matrix = FeatureAlignment.of(source, target).matrix
    assert torch.allclose(matrix, matrix.T, atol=1e-4) and torch.linalg.eigvalsh(matrix).min() > 0  # no rotation


def test_features_of_the_same_distribution_do_not_change():
    features = torch.randn(500, 6)
    assert torch.allclose(FeatureAlignment.of(features, features)(features), features, atol=1e-4)


def test_directions_without_variance_are_not_amplified():
    source, target = torch.randn(500, 6), torch.randn(500, 6)
    target[:, 3] = 1 + 1e-6 * torch.randn(500)
    noisy = target + 1e-3 * torch.randn(500, 6)
    moved = FeatureAlignment.of(source, target)
    assert (moved(noisy) - moved(target)).abs().max() < 0.1
    assert torch.isfinite(FeatureAlignment.of(source[:3], target[:2])(target)).all()  # fewer images than features


@pytest.mark.parametrize("alike", [torch.ones(5, 6), torch.randn(1, 6)], ids=["five", "one"])
def test_features_that_are_all_the_same_cannot_be_aligned(alike):
    several = torch.randn(5, 6)
    for name, both in (("source", (alike, several)), ("target", (several, alike))):
        with pytest.raises(DomtransError, match=f"f gives every {name} image the same features, so align_features=true"):
            FeatureAlignment.of(*both)


def test_mixed_precision_does_not_change_aligned_features():
    source, target = torch.randn(500, 6), torch.randn(500, 6)
    moved = FeatureAlignment.of(source, target)
    with torch.autocast("cpu", torch.bfloat16):
        within = moved(target)
    assert within.dtype == torch.float32 and torch.equal(within, moved(target))


def inputs_of_g(trainer):
    """The input of g in a step: source features, then target features."""
    inputs = []
    trainer.g.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].detach()))
    trainer.step()
    return inputs[0]


def test_g_reads_aligned_target_features_and_the_losses_read_those_of_f(tmp_path):
    plain, moved = (tiny_trainer(tiny_recipe(tmp_path, align_features=on)) for on in (False, True))
    seen = moved.load_micro_batch(("source", "target"), 0)
    before, after = inputs_of_g(plain), inputs_of_g(moved)
    n = len(seen.source_features)
    assert torch.equal(before[:n], after[:n]) and torch.equal(before[n:], seen.target_features)
    assert torch.allclose(after[n:], moved.alignment(seen.target_features)) and not torch.allclose(before[n:], after[n:])


def test_statistics_are_of_images_without_augmentation_and_of_large_sets(tmp_path, monkeypatch):
    held = tiny_trainer(tiny_recipe(tmp_path, align_features=True))
    moving = tiny_trainer(tiny_recipe(tmp_path, align_features=True, target_augmentation="noise"))
    assert moving.domains["target"].features is None
    assert torch.allclose(held.alignment.matrix, moving.alignment.matrix, atol=1e-4)
    monkeypatch.setattr("domtrans.model.transfer.MAX_STATISTICS_IMAGES", 5)
    assert len(moving.domains["target"].sample_features()) == 5


def test_a_generator_of_images_has_nothing_to_align(tmp_path):
    changes = {"generator": {"name": "digit-image-generator", "width": 4}, "align_features": True}
    with pytest.raises(DomtransError, match=r"'digit-image-generator' takes images; set align_features=false"):
        tiny_trainer(tiny_recipe(tmp_path, **changes))


def test_the_model_file_has_no_trace_of_it(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, align_features=True))
    assert isinstance(trainer.g, nn.Module) and not any("align" in name for name in training_state(trainer))


def test_maps_are_aligned_position_by_position():
    source, target = torch.randn(50, 3, 4, 4) * 2 + 1, torch.randn(60, 3, 4, 4) - 5
    vectors = [maps.movedim(1, -1).reshape(-1, 3) for maps in (source, target)]
    aligned = FeatureAlignment.of(source, target)(target)
    assert aligned.shape == target.shape
    torch.testing.assert_close(aligned.movedim(1, -1).reshape(-1, 3), FeatureAlignment.of(*vectors)(vectors[1]))


def test_a_loss_of_aligned_features_trains(tmp_path):
    changes = {"generator_losses__const__aligned": True, "generator_losses__const__distance": "mse"}
    moved = tiny_trainer(tiny_recipe(tmp_path, align_features=True, **changes))
    outputs = moved.encode_fakes(
        moved.generate(moved.load_micro_batch(("source",), 0), with_graph=True), {"source_fake_features"}
    )
    wanted = (outputs.source_features - moved.alignment(outputs.source_fake_features)).square().mean()
    assert moved.experiment.generator_losses[1].name == "const"
    torch.testing.assert_close(moved.experiment.generator_losses[1].loss(outputs), wanted)
    assert torch.isfinite(moved.step()["generator.const"])
    with pytest.raises(DomtransError, match=r"the loss 'const' .* aligns features, and the recipe has align_features=false"):
        tiny_trainer(tiny_recipe(tmp_path, align_features=False, **changes))
