"""The native network: written and read back, questions answered, and nothing hostile accepted."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network_example import Builder, example_network

from edge.errors import DamagedError, InputError
from edge.network import Conv, read_network, select_trainable, write_network


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The example in a directory."""
    write_network(example_network(), tmp_path)
    return tmp_path


def test_what_is_read_is_what_was_written(written: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Operators, fields and every byte of every tensor come back; writing again gives the same files."""
    network, original = read_network(written), example_network()
    assert network.operators == original.operators
    assert (network.input, network.classes) == (original.input, original.classes)
    assert list(network.parameters) == list(original.parameters)
    for name, expected in original.parameters.items():
        parameter = network.parameters[name]
        assert asdict(replace(parameter, tensors={})) == asdict(replace(expected, tensors={}))
        assert {key: t.tobytes() for key, t in parameter.tensors.items()} == {
            key: t.tobytes() for key, t in expected.tensors.items()
        }
        assert not any(tensor.flags.writeable for tensor in parameter.tensors.values())
        assert all(tensor.ctypes.data % 64 == 0 for tensor in parameter.tensors.values())
    again = tmp_path_factory.mktemp("again")
    write_network(network, again)
    for file in ("network.json", "network.bin"):
        assert (again / file).read_bytes() == (written / file).read_bytes()
    assert sorted(path.name for path in again.iterdir()) == ["network.bin", "network.json"]


def test_tensors_stay_readable_after_their_pages_are_released(written: Path) -> None:
    """Releasing gives memory back, not content."""
    network = read_network(written)
    before = network.parameters["stem.weight"].values.copy()
    network.release()
    np.testing.assert_array_equal(network.parameters["stem.weight"].values, before)


def test_reading_and_mutating_load_no_large_module(written: Path) -> None:
    """numpy.ma and numpy.random cost megabytes that a board would hold for the whole run."""
    code = """
import sys
from pathlib import Path
import numpy as np
before = set(sys.modules)  # older versions of numpy load some of these themselves
from edge.weight.formats.csr import absolute_columns
from edge.handover.manifest import read_manifest
from edge.weight.mutation import Slots, mutate
from edge.network import read_network
weight = read_network(Path(sys.argv[1])).parameters["irregular.weight"]
indices = {"row_starts": weight.tensors["row_starts"].copy(), "columns": absolute_columns(weight)}
mutate(weight, Slots(weight.values.copy(), indices, weight.nonzeros), 0.8, 0.75, 1)
heavy = {"numpy.ma", "numpy.random", "fractions", "decimal", "PIL", "torch"}
print(sorted(heavy & sys.modules.keys() - before))
"""
    run = subprocess.run([sys.executable, "-c", code, str(written)], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_questions_about_a_network() -> None:
    """Consumers, sparse parameters, multiply-accumulates by hand."""
    network = example_network()
    assert [reader.name for reader in network.consumers()["pool"]] == ["irregular", "shortcut"]
    assert network.consumers()["classifier"] == ()
    assert list(network.sparse_parameters()) == [
        f"{name}.weight" for name in ("irregular", "block", "pattern", "channel", "grouped", "hidden")
    ]
    assert network.dense_multiply_accumulates()["stem"] == 8 * 3 * 9 * 10 * 9
    assert network.multiply_accumulates()["pattern"] == 4 * 5 * 5 * len(network.parameters["pattern.weight"].values)
    assert network.dense_multiply_accumulates()["classifier"] == 50
    zeros = sum(p.size - p.nonzeros for p in network.sparse_parameters().values())
    assert network.sparsity() == pytest.approx(zeros / sum(p.size for p in network.sparse_parameters().values()))


def test_trainable_selections() -> None:
    """all, bias, last:N with its batch norm, and a regular expression over whole names."""
    network = example_network()
    able = {name for name, parameter in network.parameters.items() if parameter.trainable}
    assert select_trainable(network, "all") == able
    assert "norm1.running_mean" not in able
    assert select_trainable(network, "last:1") == {"classifier.weight", "classifier.bias"}
    assert select_trainable(network, "last:4") - select_trainable(network, "last:3") == {
        "channel.weight",
        "norm3.weight",
        "norm3.bias",
    }
    assert select_trainable(network, "bias") == {
        *("stem.bias", "hidden.bias", "classifier.bias"),
        *(f"{norm}.{part}" for norm in ("stem_norm", "norm1", "norm2", "norm3") for part in ("weight", "bias")),
    }
    assert select_trainable(network, r"(hidden|block)\.weight") == {"hidden.weight", "block.weight"}


@pytest.mark.parametrize("spec", ["last:0", "last:99", "last:x", "hidden", "(", "norm1.running_mean", "last:"])
def test_a_selection_of_nothing_says_what_is_possible(spec: str) -> None:
    """The message repeats what was given."""
    with pytest.raises(InputError, match=r"^trainable '.*(give all, last:N|1 to 10)"):
        select_trainable(example_network(), spec)


def test_a_file_of_another_schema_or_length_is_refused(written: Path) -> None:
    """Truncated tensors name both lengths; a missing file is named."""
    edit(written, lambda content: content.update(schema="mest-network/9"))
    with pytest.raises(DamagedError, match=r"schema 'mest-network/9'"):
        read_network(written)
    write_network(example_network(), written)
    data = (written / "network.bin").read_bytes()
    (written / "network.bin").write_bytes(data[:-1])
    with pytest.raises(DamagedError, match=rf"network\.bin: {len(data) - 1} bytes"):
        read_network(written)
    (written / "network.bin").unlink()
    with pytest.raises(DamagedError, match=r"network\.bin: cannot be read"):
        read_network(written)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change network.json by hand."""
    path = folder / "network.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def operator(content: dict[str, Any], name: str) -> dict[str, Any]:
    """An operator of the description."""
    return next(op for op in content["operators"] if op["name"] == name)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown input": (lambda c: operator(c, "sum").update(inputs=["norm2", "nowhere"]), "'sum'.*'nowhere'"),
    "later input": (lambda c: operator(c, "sum").update(inputs=["norm2", "relu3"]), "'sum'.*'relu3'"),
    "arity": (lambda c: operator(c, "sum").update(inputs=["norm2"]), "'sum': add takes two operands, not 1"),
    "name twice": (lambda c: operator(c, "sum").update(name="norm2"), "same name"),
    "the input's name": (lambda c: operator(c, "stem").update(name="input"), "same name"),
    "shape": (lambda c: operator(c, "stem").update(shape=[8, 10, 8]), "'stem'.*follows from its inputs"),
    "stride 0": (lambda c: operator(c, "stem").update(stride=[0, 1]), "operator 0: 'stride'"),
    "negative padding": (lambda c: operator(c, "stem").update(padding=[-1, 0, 0, 0]), "'padding'"),
    "groups": (lambda c: operator(c, "stem").update(groups=2), "'stem'.*2 groups"),
    "unknown op": (lambda c: operator(c, "stem").update(op="logits"), "operator 0: unknown op 'logits'; known: conv"),
    "unknown field": (lambda c: operator(c, "stem").update(extra=1), "unknown field 'extra'"),
    "no parameter": (lambda c: operator(c, "stem").update(weight="w"), "'stem': its weight 'w' is not among"),
    "two roles": (lambda c: operator(c, "norm1").update(scale="norm1.running_mean"), "also used as"),
    "epsilon": (lambda c: operator(c, "norm1").update(epsilon=0), "'epsilon'"),
    "padding fills a window": (lambda c: operator(c, "pool").update(padding=[9, 9, 9, 9]), "'pool'.*without a cell"),
    "logits": (lambda c: c.update(classes=6), r"must write the logits \[6\]"),
    "nothing left": (lambda c: c.update(operators=[]), "no operators"),
    "unread value": (lambda c: operator(c, "relu3").update(inputs=["flat"]), "nothing reads|follows|fit"),
    "offset": (lambda c: tensor(c, "stem.weight").update(offset=1), "'stem.weight', tensor 'values': offset 1"),
    "far offset": (lambda c: tensor(c, "stem.weight").update(offset=2**40), "'offset'"),
    "overlap": (lambda c: tensor(c, "stem.bias").update(offset=0), "overlaps"),
    "dtype": (lambda c: tensor(c, "stem.weight").update(dtype="float64"), "unknown dtype"),
    "huge": (lambda c: tensor(c, "stem.weight").update(shape=[2**31 - 1, 2**20]), "do not lie within"),
    "huge and empty": (lambda c: tensor(c, "stem.weight").update(shape=[0, 2**31 - 1, 2**31 - 1]), "do not lie within"),
    "dense shape": (lambda c: c["parameters"]["stem.weight"].update(shape=[2**24, 2**24]), "not possible"),
    "trainable statistics": (lambda c: c["parameters"]["norm1.running_var"].update(trainable=True), "be trainable"),
    "unknown scheme": (lambda c: c["parameters"]["block.weight"].update(scheme="blocks"), "unknown scheme"),
    "no scheme": (lambda c: c["parameters"]["block.weight"].update(scheme=None), "scheme"),
    "height": (lambda c: c["parameters"]["block.weight"].update(height=5), "blocks of 5"),
    "target": (lambda c: c["parameters"]["block.weight"].update(target_sparsity=1.5), "'target_sparsity'"),
    "format": (lambda c: c["parameters"]["block.weight"].update(format="bsr"), "unknown format 'bsr'"),
    "lost tensor": (lambda c: c["parameters"]["block.weight"]["tensors"].pop("columns"), "'columns' is missing"),
    "extra tensor": (lambda c: c["parameters"]["stem.weight"]["tensors"].update(x=vector()), "no tensor 'x'"),
    "unused": (lambda c: c["parameters"].update(spare=dict(c["parameters"]["chosen"], tensors={})), "spare"),
    "not an object": (lambda c: c["operators"].append([]), "expected an object"),
    "a boolean is no number": (lambda c: c.update(classes=True), "'classes'"),
}


def tensor(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The values of a parameter in the description."""
    return content["parameters"][name]["tensors"]["values"]


def vector() -> dict[str, Any]:
    """A tensor without bytes."""
    return {"dtype": "uint8", "shape": [0], "offset": 0}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_descriptions_are_refused_with_the_place(written: Path, case: str) -> None:
    """Each contradiction is found, and named."""
    change, message = HOSTILE[case]
    edit(written, change)
    with pytest.raises(DamagedError, match=rf"network\.json.*({message})"):
        read_network(written)


def test_channels_of_a_selection_are_checked(written: Path) -> None:
    """A channel that the input does not have, and one that is listed twice."""
    network = example_network()
    for content, message in (([8, 0, 1, 2], "0 to 7"), ([1, 1, 2, 3], "twice"), ([-1, 0, 1, 2], "0 to 7")):
        chosen = replace(network.parameters["chosen"], tensors={"values": np.array(content, np.int32)})
        with pytest.raises(DamagedError, match=message):
            write_network(network.with_parameters({"chosen": chosen}), written)


def test_blocks_within_groups_only(tmp_path: Path) -> None:
    """Four consecutive rows of different groups read different inputs."""
    net = Builder((4, 5, 5))
    net.conv("a", 12, groups=1, scheme="block")
    network = net.network()
    conv = replace(network.operators[0], groups=2)
    assert isinstance(conv, Conv)
    weight = replace(network.parameters["a.weight"], shape=(12, 2, 3, 3))
    damaged = replace(network, operators=(conv,)).with_parameters({"a.weight": weight})
    with pytest.raises((DamagedError, InputError), match=r"groups|columns"):
        write_network(damaged, tmp_path)


def test_random_damage_raises_nothing_but_damaged_error(written: Path) -> None:
    """Bytes flipped, files cut, JSON values exchanged: whatever is read at all is complete, the rest is refused."""
    rng = random.Random(11)
    texts = {name: (written / name).read_bytes() for name in ("network.json", "network.bin")}
    messages = []
    for _ in range(300):
        name = rng.choice(list(texts))
        for file, content in texts.items():
            (written / file).write_bytes(content)
        (written / name).write_bytes(damaged(rng, texts[name], name == "network.json"))
        try:
            network = read_network(written)
        except DamagedError as error:
            messages.append(str(error))
        else:
            assert network.multiply_accumulates()
    assert len(messages) > 120
    for message in messages:
        assert message.encode().startswith((b"network.", bytes(written)))
        assert "\n" not in message


WEIRD: list[object] = [None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, 1e308, "", "input", "\ud800", [], {}, [[]]]


def damaged(rng: random.Random, content: bytes, is_json: bool) -> bytes:
    """One random piece of damage."""
    kind = rng.randrange(4 if is_json else 2)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    parsed = json.loads(content)
    places = walk(parsed)
    for _ in range(rng.randint(1, 2)):
        holder, key = rng.choice(places)
        if isinstance(holder, dict) or key < len(holder):
            holder[key] = rng.choice(WEIRD)
    return json.dumps(parsed).encode()


def walk(node: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON document that holds a value."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [pair for key, child in list(children) for pair in [(node, key), *walk(child)]]
