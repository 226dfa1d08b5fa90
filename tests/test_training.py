"""The trainer and ``train``: who learns when, exact resume, what is saved, and what f costs."""

import copy
import json
import random
import threading
from pathlib import Path

import pytest
import torch
from tiny import bars, registry, tiny_recipe, tiny_trainer, write_bars

import domtrans
from domtrans import DomtransError, ImageSet, OptimizerConfig, Outputs, Stopped, override, train, use
from domtrans.optim import Average, Optimizer, rate
from domtrans.recipe import Term
from domtrans.runfolder import RunFolder
from domtrans.tensors import read_tensors, write_tensors

SEED_F = Path(__file__).parents[2] / "shared" / "weights" / "seed_f_svhn.safetensors"
TENSOR_FILES = ("model.safetensors", "training.safetensors")


def go(recipe, out, **options):
    return train(recipe, out, device="cpu", registry=registry(), **options)


def tensors(run):
    folder = getattr(run, "path", run)
    return {f"{file}:{key}": value for file in TENSOR_FILES for key, value in read_tensors(folder / file)[0].items()}


def unlike(one, other):
    """Names of tensors that differ in a bit."""
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(record):
    return {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}


def stop_at(step, stop):
    def listen(progress):
        if progress.phase == "train" and progress.step == step:
            stop.set()

    return listen


# Resuming


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("at", [0, 1])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path, optimizer, at):
    recipe = tiny_recipe(
        tmp_path,
        "digits-dtn",
        train__steps=8,
        train__sample_every=2,
        train__generator_optimizer__name=optimizer,
        train__balance_source=True,
        source_augmentation="warp",
    )
    whole = go(recipe, tmp_path / "whole")
    step, stop = random.randrange(2 + at, 8, 2), threading.Event()
    with pytest.raises(Stopped, match=f"stopped at step {step} of 8; everything is saved in"):
        go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(step, stop),))
    assert read_tensors(tmp_path / "cut" / "training.safetensors")[0]["step"] == step
    resumed = go(recipe, tmp_path / "cut", resume=True)
    assert unlike(whole, resumed) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(resumed.path)]
    assert [line["step"] for line in metrics(resumed.path)] == list(range(1, 9))
    grids = [{path.name: path.read_bytes() for path in (run.path / "samples").iterdir()} for run in (whole, resumed)]
    assert grids[0] == grids[1] and sorted(grids[0]) == [f"step-{step:06d}.png" for step in (2, 4, 6, 8)]
    assert resumed.results["accuracy"] == whole.results["accuracy"]


def test_a_crash_after_the_last_save_costs_only_the_steps_since(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=6, train__save_every=2)
    whole = go(recipe, tmp_path / "whole")

    def crash(progress):
        if progress.phase == "train" and progress.step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        go(recipe, tmp_path / "cut", listeners=(crash,))
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "cut sho')
    assert unlike(whole, go(recipe, tmp_path / "cut")) == []
    assert [line["step"] for line in metrics(tmp_path / "cut")] == list(range(1, 7))


def test_a_finished_run_is_not_trained_again_and_may_be_prolonged(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    first = go(recipe, tmp_path / "run")
    heard = []
    go(recipe, tmp_path / "run", listeners=(heard.append,))
    assert not [progress for progress in heard if progress.phase == "train"]
    longer = override(recipe, ["train.steps=4"], registry())
    with pytest.raises(DomtransError, match=r"another recipe \(train.steps: 2 -> 4\)"):
        go(longer, tmp_path / "run")
    assert go(longer, tmp_path / "run", resume=True).results["steps"] == 4 and first.results["steps"] == 2
    with pytest.raises(DomtransError, match="seed: 0 -> 1"):
        go(override(longer, ["seed=1"], registry()), tmp_path / "run", resume=True)


def test_a_start_that_failed_does_not_stand_in_the_way_of_the_mended_one(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    with pytest.raises(DomtransError, match="there is no file"):
        go(override(recipe, {"source.path": str(tmp_path / "nowhere.npz")}, registry()), tmp_path / "run")
    assert go(recipe, tmp_path / "run").results["steps"] == 2


def test_the_seed_decides_everything(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    first = go(recipe, tmp_path / "a")
    torch.manual_seed(123)  # what the caller did with torch's own generator does not matter
    before = torch.get_rng_state()
    assert unlike(first, go(recipe, tmp_path / "b")) == []
    assert torch.equal(torch.get_rng_state(), before)
    other = unlike(first, go(override(recipe, ["seed=1"], registry()), tmp_path / "c"))
    assert any(key.startswith("model.safetensors:generator.") for key in other)
    assert any(key.startswith("model.safetensors:encoder.") for key in other)


@pytest.mark.parametrize("save_every", [1, 100])
def test_a_run_that_diverges_ends_with_the_last_save_intact(tmp_path, save_every):
    recipe = tiny_recipe(
        tmp_path,
        train__steps=6,
        train__log_every=6,
        train__save_every=save_every,
        train__generator_optimizer={"name": "sgd", "lr": 1e30},
    )
    with pytest.raises(DomtransError, match=r"diverged at step.*is not a finite number; the last save in"):
        go(recipe, tmp_path / "run")
    for file in TENSOR_FILES:
        if (tmp_path / "run" / file).is_file():
            assert all(torch.isfinite(value).all() for value in read_tensors(tmp_path / "run" / file)[0].values())


def test_a_damaged_training_state_is_refused_and_kept(tmp_path):
    recipe = tiny_recipe(tmp_path, train__steps=2)
    go(recipe, tmp_path / "run")
    longer = override(recipe, ["train.steps=4"], registry())
    file = tmp_path / "run" / "training.safetensors"
    whole = file.read_bytes()
    state, about = read_tensors(file)
    state = {name: value.clone() for name, value in state.items()}  # what was read is a view of the file
    for content, message in [(whole[: len(whole) // 2], "not a whole safetensors file"), (b"", "not a whole")]:
        file.write_bytes(content)
        with pytest.raises(DomtransError, match=message):
            go(longer, tmp_path / "run", resume=True)
        assert file.read_bytes() == content
    for broken in ({"step": state["step"]}, state | {"generator_optimizer.0.exp_avg": torch.zeros(3)}):
        write_tensors(file, broken, about)
        with pytest.raises(DomtransError, match="does not fit"):
            go(longer, tmp_path / "run", resume=True)
    write_tensors(file, state, {})
    with pytest.raises(DomtransError, match="not written by this version"):
        go(longer, tmp_path / "run", resume=True)


# Who learns when


def changes(trainer, turn):
    """Names of parameters of g and D that have a gradient, and of those that moved, after a turn."""
    players = {"g": trainer.g, "D": trainer.D}
    before = {f"{p}.{name}": w.detach().clone() for p, net in players.items() for name, w in net.named_parameters()}
    for net in players.values():
        net.zero_grad(set_to_none=True)
    turn()
    now = {f"{p}.{name}": w for p, net in players.items() for name, w in net.named_parameters()}
    graded = {name[0] for name, w in now.items() if w.grad is not None}
    moved = {name[0] for name, w in now.items() if not torch.equal(w, before[name])}
    return graded, moved


@pytest.fixture(params=["spectral", "batch", "none"])
def trainer(request, tmp_path):
    made = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm=request.param))
    made.rng = made.session.rng("step", 0)
    return made


def test_d_learns_while_g_stands_still_and_the_other_way_round(trainer):
    seen = trainer.generate(trainer.look(("source", "target"), 0), learning=True)
    assert changes(trainer, lambda: trainer.discriminator_turn(seen, 0.0)) == ({"D"}, {"D"})
    buffers = {name: value.clone() for name, value in trainer.D.named_buffers() if not name.endswith("num_batches_tracked")}
    assert changes(trainer, lambda: trainer.generator_turn(seen, 0.0)) == ({"g"}, {"g"})
    if trainer.judges_jointly:  # power iteration and the like stand still too
        assert all(torch.equal(value, buffers[name]) for name, value in trainer.D.named_buffers() if name in buffers)


def test_f_never_moves(trainer):
    before = copy.deepcopy(trainer.f.state_dict())
    trainer.step()
    assert all(torch.equal(value, before[name]) for name, value in trainer.f.state_dict().items())
    assert not any(weight.grad is not None for weight in trainer.f.parameters())


@pytest.mark.parametrize("name", registry().names("encoder"))
@pytest.mark.parametrize("distance", ["mse", "cosine", "cross-entropy", "weighted"])
@pytest.mark.parametrize("of", ["source", "target"])
def test_the_const_loss_alone_moves_g_through_every_shipped_f(tmp_path, name, distance, of):
    alone = {"const": {"name": "feature-consistency", "distance": distance, "of": of}}
    trainer = tiny_trainer(tiny_recipe(tmp_path, encoder=name, generator_losses=alone))
    assert changes(trainer, trainer.step)[1] == {"g", "D"}
    assert all(weight.grad.abs().sum() > 0 for weight in trainer.g.parameters() if weight.ndim == 4)


def test_joint_judging_equals_separate_judging_where_d_has_no_norm(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm="none"))
    trainer.rng = trainer.session.rng("step", 0)
    seen = trainer.generate(trainer.look(("source", "target"), 0), learning=False)
    names = ("source_fake", "target_fake", "target")
    assert trainer.judges_jointly
    joint = trainer.judge(seen, *names)
    trainer.judges_jointly = False
    apart = trainer.judge(seen, *names)
    for name in names:
        torch.testing.assert_close(getattr(joint, f"{name}_logits"), getattr(apart, f"{name}_logits"))


def test_batch_norm_sees_every_kind_of_image_in_a_batch_of_its_own(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm="batch"))
    assert not trainer.judges_jointly
    sizes = []
    trainer.D.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    trainer.step()
    assert sizes == [4] * 5  # three kinds in D's turn, two in g's


def test_separate_updates_see_one_domain_at_a_time(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__updates="separate"))
    seen = []
    for item in (*trainer.experiment.generator_losses, *trainer.experiment.discriminator_losses):
        item.loss.register_forward_pre_hook(lambda module, inputs: seen.append((type(module).__name__, inputs[0])))
    trainer.step()
    assert all((record.source is None) != (record.target is None) for _, record in seen)
    assert [name for name, _ in seen] == [
        "TernaryDiscriminator", "TernaryGenerator", "FeatureConsistency",
        "TernaryDiscriminator", "TernaryGenerator", "TargetIdentity",
    ]  # fmt: skip


@pytest.mark.parametrize(("g_turns", "d_turns"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_turns_of_each_player(tmp_path, g_turns, d_turns):
    recipe = tiny_recipe(tmp_path, train__generator_steps=g_turns, train__discriminator_steps=d_turns)
    trainer = tiny_trainer(recipe)
    counts = {"g": 0, "D": 0}
    for name, optimizer in (("g", trainer.g_optimizer), ("D", trainer.D_optimizer)):
        optimizer.torch.register_step_post_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    trainer.step()
    trainer.step()
    assert counts == {"g": 2 * g_turns, "D": 2 * d_turns}


def test_no_batch_is_seen_twice_in_an_epoch_however_many_turns_a_step_has(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__generator_steps=3))
    seen, look = [], trainer.look
    trainer.look = lambda sides, k: seen.append(trainer.source_batches[k]) or look(sides, k)
    trainer.step()
    assert sorted(torch.cat(seen).tolist()) == list(range(12))


def test_a_loss_below_the_floor_leaves_d_alone(tmp_path):
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


def test_the_weight_scales_the_pull_of_a_term_and_zero_takes_it_out():
    assert not Term(name="x", weight=0).active(0.5) and Term(name="x").active(0.0) and not Term(name="x").active(1.0)


def test_weights_multiply_what_g_minimises(tmp_path):
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


# What is computed


def test_features_computed_once_are_those_computed_anew(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    kept = trainer.look(("source", "target"), 0)
    trainer.source_features = trainer.target_features = None
    trainer.rng = trainer.session.rng("step", 0)
    anew = trainer.look(("source", "target"), 0)
    for name in ("source", "target", "source_features", "target_features"):
        torch.testing.assert_close(getattr(kept, name), getattr(anew, name), rtol=1e-4, atol=1e-4)


def test_what_no_loss_reads_is_not_computed(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, generator_losses={"tid": "target-identity"}, discriminator_losses={}))
    calls = []
    trainer.f.register_forward_hook(lambda *_: calls.append("f"))
    trainer.D.register_forward_hook(lambda *_: calls.append("D"))
    trainer.step()
    assert calls == []


def test_the_view_is_what_f_sees_and_labels_are_offered(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, view="paint"))
    shapes = []
    trainer.f.encoder.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(inputs[0].shape)))
    trainer.step()
    assert shapes == [(4, 3, 32, 32)]  # the target is grey, f takes three channels
    assert trainer.look(("source",), 0).source_labels.shape == (4,)


def test_a_balanced_source_is_drawn_evenly_over_what_f_sees(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__balance_source=True))
    seen = trainer.f.classify(trainer.source_features).argmax(1)
    weights = trainer.source_batches.weights
    sums = torch.stack([weights[seen == k].sum() for k in seen.unique()])
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_balancing_needs_a_head(tmp_path):
    write_bars(tmp_path / "unlabelled.npz", labelled=False)
    source = {"name": "arrays", "path": str(tmp_path / "unlabelled.npz")}
    with pytest.raises(DomtransError, match="classification head"):
        tiny_trainer(tiny_recipe(tmp_path, source=source, fit=None, train__balance_source=True))


# Optimizers and averages


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, [2.0] * 5),
        ({"schedule": "linear"}, [2, 1.5, 1, 0.5, 0]),
        ({"schedule": "linear", "final_lr": 0.5}, [2, 1.75, 1.5, 1.25, 1]),
        ({"schedule": "cosine"}, [2, 1.70710678, 1, 0.29289322, 0]),
        ({"schedule": "cosine", "final_lr": 0.1}, [2, 1.7363961, 1.1, 0.4636039, 0.2]),
    ],
)
def test_schedules(config, wanted):
    made = OptimizerConfig(lr=2.0, **config)
    assert [rate(made, step, 8) for step in (0, 2, 4, 6, 8)] == pytest.approx(wanted, abs=1e-8)


def test_a_warmup_rises_to_the_full_rate():
    made = OptimizerConfig(lr=1.0, warmup=0.5)
    rates = [rate(made, step, 8) for step in range(8)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


def test_the_schedule_reaches_both_optimizers(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, train__generator_optimizer__schedule="linear"))
    trainer.step()
    trainer.step()
    assert trainer.g_optimizer.torch.param_groups[0]["lr"] == pytest.approx(2e-4 * 0.75)
    assert trainer.D_optimizer.torch.param_groups[0]["lr"] == pytest.approx(2e-4)


def test_optimizers_take_what_the_recipe_says():
    network = torch.nn.Linear(2, 2)
    sgd = Optimizer(network, OptimizerConfig(name="sgd", betas=(0.7, 0.9), weight_decay=0.1), 5).torch
    adamw = Optimizer(network, OptimizerConfig(name="adamw", betas=(0.7, 0.9), weight_decay=0.1), 5).torch
    assert (
        type(sgd) is torch.optim.SGD and sgd.param_groups[0]["momentum"] == 0.7 and sgd.param_groups[0]["weight_decay"] == 0.1
    )
    assert type(adamw) is torch.optim.AdamW and adamw.param_groups[0]["betas"] == (0.7, 0.9)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_reloaded_optimizer_steps_the_same_whatever_the_memory_layout(name):
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    gradients = [[torch.randn_like(w) for w in net.parameters()] for _ in range(3)]

    def step(optimizer, network, k):
        for weight, gradient in zip(network.parameters(), gradients[k], strict=True):
            weight.grad = gradient.clone()
        optimizer.step()

    config = OptimizerConfig(name=name, lr=0.1)
    first = Optimizer(net, config, 3)
    step(first, net, 0)
    other = copy.deepcopy(net)
    second = Optimizer(other, config, 3)
    second.load_state({key: value.clone(memory_format=torch.contiguous_format) for key, value in first.state().items()})
    for k in (1, 2):
        step(first, net, k)
        step(second, other, k)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_the_average_follows_by_its_formula():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    average = Average(net, 0.3)
    wanted = [w.detach().clone().double() for w in net.parameters()]
    for step in range(12):
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(torch.randn_like(weight))
        net(torch.randn(4, 2))
        average.update(net, step)
        decay = min(0.3, (1 + step) / (10 + step))
        wanted = [decay * mine + (1 - decay) * w.detach().double() for mine, w in zip(wanted, net.parameters(), strict=True)]
    for mine, w in zip(average.module.parameters(), wanted, strict=True):
        torch.testing.assert_close(mine.double(), w, rtol=1e-5, atol=1e-6)
    assert torch.equal(average.module[1].running_mean, net[1].running_mean)
    assert not average.module.training


def test_without_average_the_last_weights_are_saved(tmp_path):
    run = go(tiny_recipe(tmp_path, train__ema=0), tmp_path / "run")
    state = read_tensors(run.path / "training.safetensors")[0]
    for key, value in run.model.generator.state_dict().items():
        assert torch.equal(value, state[f"generator.{key}"]) and torch.equal(value, state[f"average.{key}"])


def test_the_average_is_what_is_saved_and_loaded(tmp_path):
    run = go(tiny_recipe(tmp_path, train__ema=0.9), tmp_path / "run")
    state = read_tensors(run.path / "training.safetensors")[0]
    for key, value in run.model.generator.state_dict().items():
        assert torch.equal(value, state[f"average.{key}"])
    assert not torch.equal(state["generator.layers.1.weight"], state["average.layers.1.weight"])


# f: fitted, cached, loaded


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """An empty cache, and a recipe whose fits are counted: returns the recipe, its registry and the count."""
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    calls = []

    class Counting:
        @domtrans.hookimpl
        def register(self, registry):
            registry.fit("counted", counted_fit)

    def counted_fit(encoder, source, session, *, nudge: float = 0.1):
        """Add ``nudge`` to every weight."""
        assert encoder.training
        calls.append(nudge)
        with torch.no_grad():
            for weight in encoder.parameters():
                weight.add_(nudge)

    extended = domtrans.load_plugins(Counting()).registry
    return override(tiny_recipe(tmp_path), ["fit=counted"], extended), extended, calls


def prepare(recipe, registry):
    return domtrans.experiment.prepare(recipe, registry, domtrans.Session.start("cpu", precision="float32", seed=recipe.seed))


def test_a_fitted_f_is_reused_until_something_it_depends_on_changes(counted, tmp_path):
    recipe, extended, calls = counted
    first = prepare(recipe, extended).transfer.encoder
    second = prepare(recipe, extended).transfer.encoder
    assert calls == [0.1]
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert not any(w.requires_grad for w in first.parameters()) and not first.encoder.training
    for change in ("fit.nudge=0.2", "seed=5", f"source.path={write_bars(tmp_path / 'other.npz', seed=9)}"):
        prepare(override(recipe, [change], extended), extended)
    assert len(calls) == 4
    for change in ("train.steps=9", "generator.width=8", f"target.path={write_bars(tmp_path / 'o.npz', seed=8, channels=1)}"):
        prepare(override(recipe, [change], extended), extended)
    assert len(calls) == 4


def test_a_damaged_cache_entry_is_made_again(counted, tmp_path):
    recipe, extended, calls = counted
    prepare(recipe, extended)
    (entry,) = (tmp_path / "cache" / "encoders").iterdir()
    entry.write_bytes(entry.read_bytes()[:100])
    prepare(recipe, extended)
    write_tensors(entry, {"other": torch.zeros(1)}, {})
    prepare(recipe, extended)
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(counted, tmp_path, monkeypatch):
    recipe, extended, calls = counted
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "file"))
    prepare(recipe, extended)
    prepare(recipe, extended)
    assert len(calls) == 2


def test_f_is_adapted_after_it_was_fitted_or_loaded(counted, tmp_path):
    recipe, extended, calls = counted
    recipe = override(recipe, ["adapt=counted", "adapt.nudge=0.5"], extended)
    fitted = prepare(recipe, extended).transfer.encoder.encoder
    assert calls == [0.1, 0.5]
    weights = tmp_path / "f.safetensors"
    write_tensors(weights, fitted.state_dict(), {})
    loaded = prepare(override(recipe, [f"encoder.weights={weights}"], extended), extended).transfer.encoder.encoder
    assert calls == [0.1, 0.5, 0.5]
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value + 0.5)


def test_weights_are_loaded_instead_of_a_fit(counted, tmp_path):
    recipe, extended, calls = counted
    torch.manual_seed(7)
    wanted = registry().build("encoder", use("digit-encoder"), 32, 4)
    write_tensors(tmp_path / "f.safetensors", wanted.state_dict(), {})
    found = prepare(override(recipe, [f"encoder.weights={tmp_path / 'f.safetensors'}"], extended), extended)
    assert calls == []
    assert all(torch.equal(a, b) for a, b in zip(found.transfer.encoder.encoder.parameters(), wanted.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("classify.0.bias"), "classify.0.bias is missing from the file"),
        (lambda state: state.update(more=torch.zeros(1)), "more is not expected in the file"),
        (
            lambda state: state.update({"classify.9.bias": torch.zeros(10)}),
            r"classify.9.bias has the shape \[10\] instead of \[4\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(counted, tmp_path, change, message):
    recipe, extended, _ = counted
    state = dict(registry().build("encoder", use("digit-encoder"), 32, 4).state_dict())
    change(state)
    write_tensors(tmp_path / "f.safetensors", state, {})
    with pytest.raises(DomtransError, match=message):
        prepare(override(recipe, [f"encoder.weights={tmp_path / 'f.safetensors'}"], extended), extended)


@pytest.mark.skipif(not SEED_F.is_file(), reason=f"the weights {SEED_F} are not here")
def test_the_f_of_the_earlier_study_loads(tmp_path):
    write_bars(tmp_path / "ten.npz", 20, classes=4)
    recipe = tiny_recipe(
        tmp_path, encoder__weights=str(SEED_F), source={"name": "street-digits", "count": 20, "test_count": 20}
    )
    features = tiny_trainer(recipe).source_features
    assert features.shape == (20, 128) and torch.isfinite(features).all()


def test_features_that_are_no_numbers_are_refused(counted, tmp_path):
    recipe, extended, _ = counted
    with pytest.raises(DomtransError, match="not finite numbers"):
        prepare(override(recipe, ["fit.nudge=1e30"], extended), extended)


# The run folder


def test_a_run_folder_holds_what_it_should(tmp_path):
    recipe = tiny_recipe(tmp_path, train__sample_every=2)
    run = go(recipe, tmp_path / "deep" / "run")
    assert sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")) == [
        "metrics.jsonl", "model.safetensors", "recipe.json", "results.json", "samples", "training.safetensors",
    ]  # fmt: skip
    assert domtrans.find_recipe(str(run.path), registry()) == recipe
    first = metrics(run.path)[0]
    assert {"step", "seconds", "images_per_second", "generator.gan", "generator.const", "discriminator.gan"} <= set(first)
    assert json.loads((run.path / "results.json").read_text()) == dict(run.results)


def test_the_default_folder_is_named_after_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = go(tiny_recipe(tmp_path, train__steps=1, name="mine"), None)
    assert run.path == Path("runs/mine")


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path, resume):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "me.jpg").write_text("")
    with pytest.raises(DomtransError, match="exists and is no run"):
        go(tiny_recipe(tmp_path), out, resume=resume)
    assert [path.name for path in out.iterdir()] == ["me.jpg"]
    with pytest.raises(DomtransError, match=r"no run in .* to resume"):
        go(tiny_recipe(tmp_path), tmp_path / "nowhere", resume=True)


def test_progress_is_told_in_phases_that_come_to_their_end(tmp_path, monkeypatch):
    monkeypatch.setenv("DOMTRANS_CACHE", str(tmp_path / "cache"))
    heard = []
    go(tiny_recipe(tmp_path, fit__steps=20), tmp_path / "run", listeners=(heard.append,))
    last = {progress.phase: progress for progress in heard}
    assert list(last) == ["data", "fit", "train", "evaluate"]
    assert all(progress.step == progress.steps for progress in last.values())


@pytest.mark.parametrize("phase", ["data", "fit", "train", "evaluate"])
def test_a_stop_in_any_phase_loses_nothing(tmp_path, phase):
    recipe, stop = tiny_recipe(tmp_path), threading.Event()
    with pytest.raises(Stopped):
        go(recipe, tmp_path / "run", stop=stop, listeners=(lambda progress: stop.set() if progress.phase == phase else None,))
    assert go(recipe, tmp_path / "run").results["steps"] == 4
    assert unlike(tmp_path / "run", go(recipe, tmp_path / "whole")) == []
    assert (tmp_path / "run" / "samples" / "step-000004.png").is_file()


def test_folder_times_add_up_over_sittings(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.seconds() == 0 and folder.metrics() == []
    for step in (1, 2, 3):
        folder.log({"step": step, "seconds": 1.5 * step})
    folder.rewind(2)
    assert folder.seconds() == 3.0 and len(folder.metrics()) == 2


# Plugins that do not keep their word


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("domain", lambda split, size: 3, "must return an ImageSet, not int"),
        (
            "domain",
            lambda split, size: ImageSet.from_arrays(bars(4)[0], size=8),
            r"gave \[8, 8\] pixels where 32 were asked for",
        ),
        ("encoder", lambda size, classes: torch.nn.Identity(), "must be a domtrans.Encoder, not Identity"),
        ("generator", lambda feature_size, channels, size: torch.nn.Identity(), "must be a domtrans.Generator"),
        ("discriminator", lambda channels, size: torch.nn.Identity(), "must be a domtrans.Discriminator"),
        ("loss", lambda: torch.nn.Identity(), "must be a domtrans.Loss"),
    ],
)
def test_what_a_plugin_builds_is_checked(tmp_path, kind, make, message):
    class Wrong:
        @domtrans.hookimpl
        def register(self, registry):
            getattr(registry, kind)("wrong", make)

    extended = domtrans.load_plugins(Wrong()).registry
    path = {"domain": "source", "loss": "generator_losses.extra"}.get(kind, kind)
    with pytest.raises(DomtransError, match=message):
        prepare(override(tiny_recipe(tmp_path), [f"{path}=wrong"], extended), extended)


def test_a_loss_that_reads_what_there_is_not_is_refused(tmp_path):
    class Reader(domtrans.Loss):
        reads = frozenset({"source_fakes"})

        def forward(self, outputs: Outputs):
            return outputs.source_fakes.sum()

    class Plugin:
        @domtrans.hookimpl
        def register(self, registry):
            registry.loss("reader", Reader)

    extended = domtrans.load_plugins(Plugin()).registry
    with pytest.raises(DomtransError, match=r"reads \['source_fakes'\], which Outputs does not have"):
        prepare(override(tiny_recipe(tmp_path), ["generator_losses.extra=reader"], extended), extended)
