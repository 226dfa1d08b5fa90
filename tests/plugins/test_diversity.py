"""The loss mode-seeking, by its formula, in training, and where it cannot count."""

import pytest
import torch

from domtrans import DomtransError, Outputs, use
from tiny import registry, tiny_recipe, tiny_trainer


def outputs(first, second, target):
    images = [
        torch.as_tensor(levels, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 4, 4)
        for levels in (first, second, target)
    ]
    return Outputs(source_fake=images[0], source_second_fake=images[1], target=images[2])


def test_it_is_the_missing_share_of_the_distance_between_real_images():
    """The real images differ by 0.4, 0.2 and 0.6, so 0.4 on average; half of it is enough."""
    loss = registry().build("loss", use("mode-seeking", share=0.5))
    value = loss(outputs([0.0, 0.0, 0.1], [0.0, 0.1, 0.9], [0.0, 0.4, 0.6]))
    assert value.item() == pytest.approx((1 + 0.5 + 0) / 3)


def noisy(folder, noise=4, **changes):
    return tiny_recipe(folder, generator__noise=noise, generator_losses__varied="mode-seeking", **changes)


def test_g_learns_to_use_z():
    torch.manual_seed(0)
    g = registry().build("generator", use("image-generator", width=4, noise=4), 8, 3, 32)
    with torch.no_grad():
        g.layers[1].weight[8:] *= 0.01  # g hardly sees z
    loss, optimizer = registry().build("loss", use("mode-seeking")), torch.optim.Adam(g.parameters(), 0.02)
    features, target, values = torch.randn(8, 8), torch.rand(8, 3, 32, 32) * 2 - 1, []
    for _ in range(15):
        value = loss(Outputs(source_fake=g(features), source_second_fake=g(features), target=target))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > 0.9 and values[-1] < 0.5


@pytest.mark.parametrize("accumulate", [1, 2])
def test_micro_batches_draw_twice_too(tmp_path, accumulate):
    trainer = tiny_trainer(noisy(tmp_path, train__accumulate=accumulate))
    assert 0 < trainer.step()["generator.varied"] <= 1


def test_a_generator_without_noise_is_refused(tmp_path):
    with pytest.raises(DomtransError, match=r"'digit-generator' makes one.*generator\.noise=8"):
        tiny_trainer(noisy(tmp_path, noise=0))


def test_it_needs_both_domains(tmp_path):
    with pytest.raises(DomtransError, match=r"train\.updates=joint"):
        tiny_trainer(noisy(tmp_path, train__updates="separate"))  # before the first step, in which it may not count yet


def test_it_is_refused_among_the_losses_of_d(tmp_path):
    with pytest.raises(DomtransError, match="move it to generator_losses"):
        tiny_trainer(tiny_recipe(tmp_path, generator__noise=4, discriminator_losses__varied="mode-seeking"))
