"""A short run of the fuzz harness, and single attacks."""

import json
import os
import pickle
import random
import struct

import pytest
import torch

from broken_files import Trap, nested
from domtrans import DomtransError, load, override, train
from domtrans.evaluation.results import in_sections
from domtrans.model.build import build_transfer
from domtrans.storage.tensors import read_tensors, write_tensors
from domtrans.training.checkpoint import load_training_state
from fuzz_checkpoints import CALLS, MEGABYTES, Bench, fuzz, peak
from tiny_parts import recipe
from work import Calls


def test_a_few_hundred_cases():
    outcomes, faults = fuzz(250, seed=3)
    assert not faults
    assert sum(outcomes.values()) == 250 and sum(count for what, count in outcomes.items() if "refused" in what) > 120


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def model(bench):
    """A copy of a valid model, and a function that writes other tensors or metadata into it, with a valid checksum."""
    path = bench.folder.model_file
    path.write_bytes(bench.wholes["model.safetensors"])

    def forge(tensors=(), **metadata):
        found, said = read_tensors(path)
        for key, changes in metadata.items():
            said[key] = changes if isinstance(changes, str) else json.dumps(json.loads(said[key]) | changes)
        write_tensors(path, found | dict(tensors), said)

    yield path, forge
    path.unlink(missing_ok=True)


def refused(bench, message):
    """The error of a model that must be refused with little work and memory."""
    before = peak()
    with pytest.raises(DomtransError, match=message) as caught, Calls() as calls:
        load(bench.folder.path, device="cpu", registry=bench.registry)
    assert calls.count < CALLS and peak() - before < MEGABYTES
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_every_single_flipped_bit_is_noticed(bench, model):
    whole = bench.wholes["model.safetensors"]
    head = 8 + int.from_bytes(whole[:8], "little")
    for place in [*range(0, head, 7), *range(head, len(whole), 211), *range(head - 12, head + 4)]:
        content = bytearray(whole)
        content[place] ^= 1 << (place % 8)
        model[0].write_bytes(content)
        with pytest.raises(DomtransError):
            load(bench.folder.path, device="cpu", registry=bench.registry)


def test_a_file_without_its_checksum_is_damaged(bench, model):
    whole = bench.wholes["model.safetensors"]
    model[0].write_bytes(whole.replace(b'"checksum"', b'"checksun"', 1))
    refused(bench, "its checksum is missing")
    bench.folder.training_file.write_bytes(bench.wholes["training.safetensors"].replace(b'"checksum"', b'"checksun"', 1))
    with pytest.raises(DomtransError, match="has no checksum"):
        bench.folder.load_training()
    bench.folder.training_file.unlink()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"name": "tiny-f", "width": 10**12}}, "far larger than the weights in the file"),
        ({"encoder": {"name": "tiny-f", "width": 10**18}}, "does not hold the model"),
        ({"encoder": {"name": "tiny-f", "depth": 10**12}}, "far larger than the weights in the file"),
        ({"encoder": {"name": "digit-encoder", "head": 10**12}, "image_size": 32}, "far larger|shape|missing|expected"),
        ({"image_size": 1024}, "far larger than the weights in the file"),
        ({"encoder": {"name": "tiny-f", "width": 5}}, "has the shape"),
        ({"image_size": 10**9}, "image_size"),
        ({"generator": {"name": "tiny-g", "gain": "1" * 10_000}}, "gain"),
        ({"generator": {"name": "other-g"}}, "there is no generator 'other-g'"),
        ({"name": "\x1b[31m\n"}, None),
    ],
)
def test_recipes_of_huge_networks_and_unknown_parts(bench, model, changes, message):
    model[1](recipe=changes)
    if message is None:
        assert load(bench.folder.path, device="cpu", registry=bench.registry)
    else:
        refused(bench, message)


def test_a_network_whose_constructor_reads_its_weights_is_built_and_compared(bench, model):
    model[1](recipe={"encoder": {"name": "peeking-f"}})
    assert load(bench.folder.path, device="cpu", registry=bench.registry).recipe.encoder.name == "peeking-f"
    for options, message in (
        ({"width": 5}, "has the shape"),
        ({"depth": 10**12}, "far larger"),
        ({"width": 10**13}, "far larger"),
    ):
        model[1](recipe={"encoder": {"name": "peeking-f", **options}})
        refused(bench, message)


def test_options_that_need_more_memory_than_the_machine_has(bench):
    for width in (10**13, 10**18):
        giant = override(recipe(), {"encoder.width": width}, bench.registry)
        with pytest.raises(DomtransError, match="not enough memory for the encoder 'tiny-f'"):
            build_transfer(giant, bench.registry, 2, 3)


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "..", "", "a/b", "a\nb", "\x00"])
def test_the_name_of_a_recipe_cannot_be_a_path(bench, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DomtransError, match="cannot name a folder under runs/; choose one with --out"):
        train(recipe().model_copy(update={"name": name}), device="cpu", registry=bench.registry)
    assert not list(tmp_path.iterdir()) and not list(tmp_path.parent.glob("escape*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 10**9}, "1 to 64 channels"),
        ({"channels": None}, "1 to 64 channels"),
        ({"channels": 1}, "has the shape"),
        ({"channels": True}, "1 to 64 channels"),
        ({"classes": 3}, "not a list of names"),
        ({"classes": "ab"}, "not a list of names"),
        ({"classes": [1, 2]}, "not a list of names"),
        ({"classes": ["a"] * 100_000}, "has the shape"),
        ("[]", "must be a table"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"classes": ' + "[" * 900 + "]" * 900 + "}", "not a list of names"),
    ],
)
def test_metadata_of_the_wrong_type(bench, model, changes, message):
    model[1](about=changes)
    refused(bench, message)


def test_the_plugin_of_a_missing_part_is_named(bench, model):
    model[1](
        recipe={"generator": {"name": "other-g"}},
        about={"plugins": {"generator other-g": "strangers (domtrans-strangers 2.1)"}},
    )
    sentence = refused(bench, "there is no generator 'other-g'")
    assert "install its plugin, strangers (domtrans-strangers 2.1)" in sentence


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(bench, model, value):
    tensors, _ = read_tensors(model[0])
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name].view(-1)[3] = value
    model[1](tensors={name: tensors[name]})
    assert name in refused(bench, "not finite")
    state, metadata = read_tensors(bench.good / "training.safetensors")
    state["generator.layers.0.weight"].view(-1)[3] = value
    write_tensors(bench.folder.training_file, state, metadata)
    with pytest.raises(DomtransError, match="not finite"):
        bench.folder.load_training()
    bench.folder.training_file.unlink()


@pytest.mark.parametrize("name", ["../../escape", "/tmp/escape", "a\nb", "encoder.\x1b[31m", "x" * 10_000])
def test_unusual_names_of_tensors(bench, model, name):
    model[1](tensors={name: torch.ones(2)})
    refused(bench, "not expected in the file")


@pytest.mark.parametrize("length", [2**24 + 1, 10**8, 2**40, 2**63])
def test_a_huge_header(bench, model, length):
    with model[0].open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(min(8 + length, 2**30))  # a sparse file
    refused(bench, "its header would be|not a complete safetensors file")


@pytest.mark.parametrize("size", [2**34, 2**40])
def test_a_huge_sparse_file_is_not_read(bench, model, size):
    """A sparse file: it is refused by its metadata, before it is read."""
    said = {"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}, "__metadata__": {"format": "domtrans-1"}}
    header = json.dumps(said)
    with model[0].open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header.encode())
        file.truncate(8 + len(header) + size)
    refused(bench, "checksum is missing|unable to mmap")


def test_pickles_renamed_and_pipes(bench, model):
    for content in (pickle.dumps(Trap()), b"PK\x03\x04" * 100):
        model[0].write_bytes(content)
        refused(bench, "not a complete safetensors file")
    assert not Trap.sprung
    model[0].unlink()
    os.mkfifo(model[0])
    refused(bench, "no recipe.json|not saved a model")
    with pytest.raises(DomtransError, match="not a regular file"):
        read_tensors(model[0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("step", lambda t: torch.tensor(-3)),
        ("step", lambda t: torch.tensor([1, 2])),
        ("step", lambda t: torch.tensor(1.5)),
        ("step", None),
        ("generator.layers.0.weight", None),
        ("generator.layers.0.weight", lambda t: t[None]),
        ("generator_optimizer.0.exp_avg", None),
        ("generator_optimizer.0.exp_avg", lambda t: t.to(torch.int64)),
        ("generator_optimizer.0.step", lambda t: t.expand(3).clone()),
        ("generator_optimizer.-1.step", lambda t: torch.ones(())),
        ("generator_optimizer.0.\n", lambda t: torch.ones(())),
        ("generator_optimizer.99.exp_avg", lambda t: torch.ones(())),
    ],
)
def test_training_states_that_do_not_fit(bench, name, change):
    state, metadata = read_tensors(bench.good / "training.safetensors")
    before = state.pop(name, None)
    if change is not None:
        state[name] = change(before)
    write_tensors(bench.folder.training_file, state, metadata)
    with pytest.raises(DomtransError) as caught:
        found = bench.folder.load_training()
        load_training_state(bench.trainer, found)
    assert str(caught.value).isprintable()
    bench.folder.training_file.unlink()


def test_invalid_files_beside_the_model(bench, model, tmp_path):
    for content in ("[1, 2]", "{", "[" * 100_000, '"x"', '{"step": 1}\n[]\n'):
        for name in ("results.json", "metrics.jsonl"):
            (bench.folder.path / name).write_text(content)
        results = load(bench.folder.path, device="cpu", registry=bench.registry).results
        assert results in ({}, {"step": 1} | in_sections({"step": 1}))
        assert bench.folder.metrics() == []
    for name in ("results.json", "metrics.jsonl"):
        (bench.folder.path / name).unlink()


def test_nested_json_is_valid_or_not_but_never_shallow():
    assert {len(nested(random.Random(seed))) > 5 for seed in range(20)} == {True}
