"""The encoder ensemble, whose members predict together, and the fit each, which fits them one by one."""

import pytest
import torch

from domtrans import DomtransError, load, train, use
from tiny import registry, tiny_recipe

SMALL = {"name": "attributes", "width": 4, "features": 8}


def build(*encoders, **options):
    return registry().build("encoder", use("ensemble", encoders=list(encoders), **options), 32, 4).eval()


def head_probabilities(logits, sizes):
    return [head.softmax(1) for head in logits.split(sizes, 1)]


def test_probabilities_are_the_weighted_geometric_mean_of_the_members():
    f = build(SMALL, SMALL | {"depth": 2}, member_weights=[2.0, 1.0])
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    sizes = [len(values) for values in f.heads.values()]
    one, other = (head_probabilities(member.logits(member(images)), sizes) for member in f.members)
    for found, p, q in zip(head_probabilities(f.logits(f(images)), sizes), one, other, strict=True):
        wanted = (p**2 * q) ** (1 / 3)
        torch.testing.assert_close(found, wanted / wanted.sum(1, keepdim=True))


def test_a_head_has_weights_of_its_own():
    f = build(SMALL, SMALL | {"depth": 2}, head_weights={"skin": [0.0, 3.0], "glasses": [3.0, 1.0]})
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    sizes = [len(values) for values in f.heads.values()]
    one, other = (head_probabilities(member.logits(member(images)), sizes) for member in f.members)
    powers = {"skin": (0, 1), "glasses": (0.75, 0.25)}
    found = head_probabilities(f.logits(f(images)), sizes)
    for name, mixed, p, q in zip(f.heads, found, one, other, strict=True):
        a, b = powers.get(name, (0.5, 0.5))
        wanted = p**a * q**b
        torch.testing.assert_close(mixed, wanted / wanted.sum(1, keepdim=True))


def test_features_are_those_of_the_members_and_the_gradient_passes_each():
    f = build(SMALL, SMALL)
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    torch.testing.assert_close(f(images), torch.cat([member(images) for member in f.members], 1))
    assert f.feature_size == 16
    for head in f.logits(f(images)).sum(0)[:3]:
        (grad,) = torch.autograd.grad(head, images, retain_graph=True)
        assert grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("encoders", "options", "message"),
    [
        (
            [SMALL, "digit-encoder"],
            {},
            "same heads; DigitEncoder has class \\(4\\), AttributeEncoder has skin",
        ),
        (["colour-grid"], {}, "ColourGrid has none"),
        ([SMALL], {"member_weights": [1.0, 2.0]}, "member_weights has 2 numbers for 1 encoders; give one for each"),
        ([], {}, "at least 1 item"),
        ([SMALL], {"head_weights": {"skin": [1.0, 2.0]}}, "head_weights.skin has 2 numbers for 1 encoders; give one for each"),
        ([SMALL, SMALL], {"head_weights": {"skin": [0.0, 0.0]}}, "head_weights.skin is 0 for every encoder"),
        (
            [SMALL],
            {"head_weights": {"hat": [1.0]}},
            "head_weights names 'hat', which is no head of the encoders",
        ),
    ],
)
def test_what_cannot_predict_together_is_refused(encoders, options, message):
    with pytest.raises(DomtransError, match=message):
        build(*encoders, **options)


def recipe_of(folder, fit, encoder, **changes):
    """A tiny recipe whose ensemble is fitted by one fit, or by a list with one for each member."""
    return tiny_recipe(folder, encoder=encoder, fit={"name": "each", "fits" if isinstance(fit, list) else "of": fit}, **changes)


def fitted(folder, fit, encoder):
    folder.mkdir(exist_ok=True)
    run = train(recipe_of(folder, fit, encoder, train__steps=1), folder / "run", device="cpu", registry=registry())
    return run.model.encoder.encoder


def test_each_fits_every_member_with_its_own_fit_and_its_own_random_numbers(tmp_path):
    two = {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]}
    quick, none = {"name": "classifier", "steps": 3, "lr": 1e-2}, {"name": "classifier", "steps": 1, "lr": 1e-12}
    begins = fitted(tmp_path / "begin", none, two).members
    ends = fitted(tmp_path / "end", [none, quick], two).members
    moved = [
        max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))
        for a, b in zip(begins, ends, strict=True)
    ]
    assert moved[0] < 1e-9 < 1e-4 < moved[1]
    first, second = fitted(tmp_path / "same", quick, {"name": "ensemble", "encoders": ["digit-encoder"] * 2}).members
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_each_gives_the_target_to_a_fit_that_takes_it(tmp_path):
    two = {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]}
    assert len(fitted(tmp_path, [{"name": "classifier", "steps": 1}, {"name": "self-training", "steps": 2}], two).members) == 2


def test_the_progress_of_each_is_that_of_all_members(tmp_path):
    seen, quick = [], {"name": "classifier", "steps": 20}
    recipe = recipe_of(tmp_path, quick, {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]}, train__steps=1)
    train(recipe, tmp_path / "run", device="cpu", registry=registry(), listeners=seen.append)
    assert [(p.step, p.steps) for p in seen if p.phase == "fit" and p.values] == [(20, 40), (40, 40)]


def test_predictions_of_an_ensemble_are_fitted_by_each_and_the_run_loads(tmp_path):
    encoder = {"name": "predictions", "of": {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]}}
    recipe = recipe_of(tmp_path, {"name": "classifier", "steps": 2}, encoder, train__steps=2)
    run = train(recipe, tmp_path / "run", device="cpu", registry=registry())
    image = torch.zeros(1, 3, 32, 32)
    torch.testing.assert_close(load(tmp_path / "run", registry=registry()).model(image), run.model(image))


def test_each_refuses_another_number_of_fits(tmp_path):
    with pytest.raises(DomtransError, match="2 fits for 3 members"):
        fitted(tmp_path, ["classifier"] * 2, {"name": "ensemble", "encoders": ["digit-encoder"] * 3})


@pytest.mark.parametrize("options", [{}, {"of": "classifier", "fits": ["classifier"] * 2}])
def test_each_needs_one_fit_of_all_or_one_for_each(tmp_path, options):
    two = {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]}
    recipe = tiny_recipe(tmp_path, encoder=two, fit={"name": "each", **options})
    with pytest.raises(DomtransError, match="needs either 'of', the fit of all members, or 'fits'"):
        train(recipe, tmp_path / "run", device="cpu", registry=registry())
