"""The trainer: which network learns when, from which images, and what is computed."""

import copy

import pytest
import torch
from torch import nn

import domtrans
from domtrans import Batches, DomtransError, Generator, Session, override, to_float
from domtrans.data.batches import derive_seed
from domtrans.evaluation.health import DIVERSITY
from domtrans.recipe.schema import Term
from domtrans.training import experiment
from domtrans.training.trainer import Trainer
from domtrans.training.updates import images_per_step
from published_weights import NEED_A_FILE
from tiny import registry, tiny_recipe, tiny_trainer, write_bars

# Which network learns


def changes(trainer, update):
    """The networks, g or D, that have a gradient after an update, and those whose parameters changed."""
    networks = {"g": trainer.g, "D": trainer.D}
    before = {f"{p}.{name}": w.detach().clone() for p, net in networks.items() for name, w in net.named_parameters()}
    for net in networks.values():
        net.zero_grad(set_to_none=True)
    update()
    now = {f"{p}.{name}": w for p, net in networks.items() for name, w in net.named_parameters()}
    graded = {name[0] for name, w in now.items() if w.grad is not None}
    moved = {name[0] for name, w in now.items() if not torch.equal(w, before[name])}
    return graded, moved


@pytest.fixture(params=["spectral", "batch", "none"])
def trainer(request, tmp_path):
    made = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm=request.param))
    made._begin_step()
    return made


def test_one_network_learns_while_the_other_is_fixed(trainer):
    outputs = trainer.generate(trainer.load_micro_batch(("source", "target"), 0), with_graph=True)
    assert changes(trainer, lambda: trainer.train_discriminator([outputs])) == ({"D"}, {"D"})
    buffers = {name: value.clone() for name, value in trainer.D.named_buffers() if not name.endswith("num_batches_tracked")}
    assert changes(trainer, lambda: trainer.train_generator([outputs])) == ({"g"}, {"g"})
    if trainer.judges_jointly:  # power iteration is off too
        assert all(torch.equal(value, buffers[name]) for name, value in trainer.D.named_buffers() if name in buffers)


@pytest.mark.parametrize("updates", ["joint", "separate"])
def test_the_images_of_a_step_are_those_that_it_loads(tmp_path, updates):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__updates=updates, train__generator_steps=3, train__accumulate=2))
    loaded = []
    for domain in trainer.domains.values():
        load = domain.load_batch
        domain.load_batch = lambda k, rng, load=load: loaded.append(load(k, rng)) or loaded[-1]
    trainer.step()
    assert sum(len(images) for _, images, _ in loaded) == images_per_step(trainer.config) == 2 * 3 * 4


def test_f_never_changes(trainer):
    before = copy.deepcopy(trainer.f.state_dict())
    trainer.step()
    assert all(torch.equal(value, before[name]) for name, value in trainer.f.state_dict().items())
    assert not any(weight.grad is not None for weight in trainer.f.parameters())


# Encoders that start from a published file have neither a fit nor a head: test_encoders_published.py and test_encoders_onnx.py.
# Those of faces: test_faces_networks.py. That of maps: test_images_networks.py.
ELSEWHERE = {"attributes", "attribute-probe", "colour-grid", "digit-encoder", "map-encoder"}
OTHERS = set(registry().names("encoder")) - {*NEED_A_FILE, *ELSEWHERE}
NEEDED = {
    "ensemble": {"name": "ensemble", "encoders": ["digit-encoder", "digit-encoder"]},
    "predictions": {"name": "predictions", "of": {"name": "digit-encoder"}},
}
DISTANCES = ("mse", "cosine", "contrastive", "cross-entropy", "weighted")


@pytest.mark.parametrize(
    ("name", "distance", "of"),
    [
        *((name, "mse", "source") for name in sorted(OTHERS)),
        *(("digit-encoder", distance, of) for distance in DISTANCES for of in ("source", "target")),
    ],
)
def test_the_const_loss_alone_trains_g_through_every_shipped_f(tmp_path, name, distance, of):
    alone = {"const": {"name": "feature-consistency", "distance": distance, "of": of}}
    trainer = tiny_trainer(tiny_recipe(tmp_path, encoder=NEEDED.get(name, name), generator_losses=alone))
    assert changes(trainer, trainer.step)[1] == {"g", "D"}
    assert all(weight.grad.abs().sum() > 0 for weight in trainer.g.parameters() if weight.ndim == 4)


def test_joint_judging_equals_separate_judging_where_d_has_no_norm(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm="none"))
    trainer.rng = trainer.session.rng("step", 0)
    outputs = trainer.generate(trainer.load_micro_batch(("source", "target"), 0), with_graph=False)
    names = ("source_fake", "target_fake", "target")
    assert trainer.judges_jointly
    joint = trainer.judge(outputs, *names)
    trainer.judges_jointly = False
    apart = trainer.judge(outputs, *names)
    for name in names:
        torch.testing.assert_close(getattr(joint, f"{name}_logits"), getattr(apart, f"{name}_logits"))


def test_batch_norm_gets_each_kind_of_image_in_its_own_batch(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm="batch"))
    assert not trainer.judges_jointly
    sizes = []
    trainer.D.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    trainer.step()
    assert sizes == [4] * 5  # three kinds in D's turn, two in g's


def test_separate_updates_use_one_domain_at_a_time(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__updates="separate"))
    outputs = []
    for item in (*trainer.experiment.generator_losses, *trainer.experiment.discriminator_losses):
        item.loss.register_forward_pre_hook(lambda module, inputs: outputs.append((type(module).__name__, inputs[0])))
    trainer.step()
    assert all((record.source is None) != (record.target is None) for _, record in outputs)
    assert [name for name, _ in outputs] == [
        "TernaryDiscriminator", "TernaryGenerator", "FeatureConsistency",
        "TernaryDiscriminator", "TernaryGenerator", "TargetIdentity",
    ]  # fmt: skip


@pytest.mark.parametrize(("g_updates", "d_updates"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_each_network_takes_its_number_of_updates(tmp_path, g_updates, d_updates):
    recipe = tiny_recipe(tmp_path, train__generator_steps=g_updates, train__discriminator_steps=d_updates)
    trainer = tiny_trainer(recipe)
    counts = {"g": 0, "D": 0}
    for name, optimizer in (("g", trainer.g_optimizer), ("D", trainer.D_optimizer)):
        optimizer.torch.register_step_post_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    trainer.step()
    trainer.step()
    assert counts == {"g": 2 * g_updates, "D": 2 * d_updates}


def test_every_update_of_a_step_draws_other_images(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__generator_steps=3))
    outputs, load = [], trainer.load_micro_batch
    trainer.load_micro_batch = lambda domains, k: outputs.append(trainer.domains["source"].batches[k]) or load(domains, k)
    trainer.step()
    assert sorted(torch.cat(outputs).tolist()) == list(range(12))


def test_d_is_not_updated_below_the_loss_floor(tmp_path):
    for floor, moved in ((1e9, {"g"}), (0.01, {"g", "D"})):
        trainer = tiny_trainer(tiny_recipe(tmp_path, train__discriminator_floor=floor))
        assert changes(trainer, trainer.step)[1] == moved


def test_a_term_counts_from_its_start_to_its_stop(tmp_path):
    spans = {"const": (0.25, 0.75), "tid": (0.5, 1.0)}
    settings = {
        f"generator_losses__{name}__{end}": share
        for name, span in spans.items()
        for end, share in zip(("start", "stop"), span, strict=True)
    }
    trainer = tiny_trainer(tiny_recipe(tmp_path, **settings))
    found = [sorted(key.removeprefix("generator.") for key in trainer.step() if key.startswith("generator")) for _ in range(4)]
    assert found == [["gan"], ["const", "gan"], ["const", "gan", "tid"], ["gan", "tid"]]


def test_a_term_of_weight_zero_is_not_active():
    assert not Term(name="x", weight=0).active(0.5) and Term(name="x").active(0.0) and not Term(name="x").active(1.0)


def test_the_gradient_is_proportional_to_the_weight(tmp_path):
    def gradient(weight):
        alone = {"tid": {"name": "target-identity", "weight": weight}}
        trainer = tiny_trainer(
            tiny_recipe(tmp_path, generator_losses=alone, train__generator_optimizer={"name": "sgd", "lr": 1e-9})
        )
        logged = trainer.step()["generator.tid"]
        return torch.cat([w.grad.flatten() for w in trainer.g.parameters()]), logged

    (one, logged_one), (five, logged_five) = gradient(1), gradient(5)
    torch.testing.assert_close(five, 5 * one)
    assert logged_one == logged_five  # the log holds terms unweighted


# Gradient accumulation


RATE = 1e-4
"""Small, so that rounding errors do not grow: const is large for an f that has hardly learned."""


class PlainGenerator(Generator):
    """g without batch norm, so that an image does not depend on its neighbours."""

    def __init__(self, feature_size: int, channels: int, size: int) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        self.layer = nn.Linear(feature_size, channels * size * size)

    def forward(self, features):
        return torch.tanh(self.layer(features)).unflatten(1, self.shape)


@pytest.fixture
def plain(tmp_path):
    """A function that makes trainers with that g, a D without norm, and a number of micro-batches."""

    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.generator("plain", PlainGenerator)

    extended = domtrans.load_plugins(Plugin()).registry
    sgd = {f"train__{player}_optimizer": {"name": "sgd", "lr": RATE} for player in ("generator", "discriminator")}

    def make(parts, **changes):
        recipe = tiny_recipe(tmp_path, **sgd | {"discriminator__norm": "none", "train__batch_size": 8} | changes)
        recipe = override(recipe, {"generator": "plain", "train.accumulate": parts}, extended)
        session = Session.start("cpu", precision="float32")
        return Trainer(experiment.prepare(recipe, extended, session), session.during("train"))

    return make


def test_the_accumulated_gradient_equals_one_computed_by_hand(plain):
    trainer = plain(4, generator_losses={"tid": {"name": "target-identity", "weight": 3}}, discriminator_losses={})
    index = trainer.experiment.target.take(Batches(12, 8, derive_seed(0, "target"))[0])
    images = to_float(index.images)
    weight, bias = trainer.g.layer.weight.detach().clone(), trainer.g.layer.bias.detach().clone()
    features = trainer.f(images)
    made = torch.tanh(features @ weight.T + bias)
    # d/dz of 3 * mean((tanh z - t)^2) over all 8 * 1,024 numbers
    pull = 3 * 2 * (made - images.flatten(1)) * (1 - made**2) / made.numel()
    logged = trainer.step()
    torch.testing.assert_close(trainer.g.layer.weight.grad, pull.T @ features, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(trainer.g.layer.weight, weight - RATE * (pull.T @ features), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logged["generator.tid"], (made - images.flatten(1)).square().mean())


@pytest.mark.parametrize("updates", ["joint", "separate"])
def test_accumulation_trains_the_same_weights_without_batch_norm(plain, updates):
    turns = {"train__updates": updates, "train__discriminator_steps": 2, "train__discriminator_floor": 0.1}
    turns["generator_losses__const__weight"] = 0.01  # a large L_CONST diverges, and amplifies differences of rounding
    whole, cut = plain(1, **turns), plain(4, **turns)
    begin = whole.g.layer.weight.detach().clone()
    for _ in range(3):
        found, wanted = cut.step(), whole.step()
        assert found.keys() == wanted.keys()
        for name in set(wanted) - {DIVERSITY}:  # it is computed per micro-batch
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-3, atol=1e-4, msg=name)
    for a, b in zip([*whole.g.parameters(), *whole.D.parameters()], [*cut.g.parameters(), *cut.D.parameters()], strict=True):
        assert (b - a).abs().max() <= 1e-4 * a.abs().max()
    assert (whole.g.layer.weight - begin).abs().max() > 1e-3 * begin.abs().max()


def test_batch_norm_gets_one_micro_batch_at_a_time(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__accumulate=2))
    outputs = []
    trainer.g.register_forward_hook(lambda module, inputs, output: outputs.append((len(inputs[0]), output.requires_grad)))
    trainer.step()
    assert outputs == [(4, False), (4, False), (4, True), (4, True)]  # both domains of a micro-batch; once for D, once for g


# What is computed


def test_cached_features_equal_recomputed_ones(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    kept = trainer.load_micro_batch(("source", "target"), 0)
    trainer.domains["source"].features = trainer.domains["target"].features = None
    trainer.rng = trainer.session.rng("step", 0)
    again = trainer.load_micro_batch(("source", "target"), 0)
    for name in ("source", "target", "source_features", "target_features"):
        torch.testing.assert_close(getattr(kept, name), getattr(again, name), rtol=1e-4, atol=1e-4)


def test_fields_that_no_loss_reads_are_not_computed(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, generator_losses={"tid": "target-identity"}, discriminator_losses={}))
    calls = []
    trainer.f.register_forward_hook(lambda *_: calls.append("f"))
    trainer.D.register_forward_hook(lambda *_: calls.append("D"))
    trainer.step()
    assert calls == []


def test_f_gets_the_view_and_losses_can_get_labels(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, view="paint"))
    shapes = []
    trainer.f.encoder.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
    trainer.step()
    assert shapes == [(4, 3, 32, 32)]  # the target is grey, f takes three channels
    assert trainer.load_micro_batch(("source",), 0).source_labels.shape == (4,)


def test_a_balanced_source_is_drawn_evenly_over_predicted_classes(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__balance_source=True))
    outputs = trainer.f.classify(trainer.domains["source"].features).argmax(1)
    weights = trainer.domains["source"].batches.weights
    sums = torch.stack([weights[outputs == k].sum() for k in outputs.unique()])
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_balancing_needs_a_head(tmp_path):
    write_bars(tmp_path / "unlabelled.npz", labelled=False)
    source = {"name": "arrays", "path": str(tmp_path / "unlabelled.npz")}
    with pytest.raises(DomtransError, match="classification head"):
        tiny_trainer(tiny_recipe(tmp_path, source=source, fit=None, train__balance_source=True))
