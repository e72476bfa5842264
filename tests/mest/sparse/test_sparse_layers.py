"""Which layers are sparse: by profile, by one sparsity, and every problem named at once."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from mest import Sparsifier, sparsify
from mest.errors import InputError
from mest.models import MODELS
from mest.sparse import Block, Channel, Irregular, Pattern, Selection, Target, dense, em, layers_of, select_targets
from mest.sparse.distribution import erk_sparsities
from mest.sparse.layers import Layer, bare


class Mobile(nn.Module):
    """The shapes of mobilenet_v2: expansion, depthwise, projection, all on the main path."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.expand = nn.Conv2d(8, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, stride=2, groups=32)
        self.project = nn.Conv2d(32, 16, 1)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(16, 10))


class Residual(nn.Module):
    """A bottleneck with a named shortcut, one with a nameless strided one, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3)
        self.reduce = nn.Conv2d(16, 8, 1)
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.downsample = nn.Sequential(nn.Conv2d(16, 8, 1), nn.BatchNorm2d(8))
        self.beside = nn.Conv2d(8, 8, 1, stride=2)
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)


def test_resnet32_has_thirty_sparse_convolutions() -> None:
    """As published: 30 block convolutions sparse; first one, shortcuts, classifier dense."""
    selection = select_targets(MODELS["resnet32"](classes=10), "block", sparsity=0.9)
    assert len(selection) == 30
    assert all(target == Target(name, 0.9, Block()) for name, target in selection.items())
    assert selection.dense == {
        "conv1.weight": "the first convolution",
        "layer2.0.downsample.0.weight": "a shortcut",
        "layer3.0.downsample.0.weight": "a shortcut",
        "linear.weight": "the classifier",
    }


def test_pointwise_convolutions_of_the_main_path_are_sparse() -> None:
    """In a mobilenet the 1×1 convolutions are the network; depthwise ones stay dense."""
    selection = select_targets(Mobile(), "irregular", sparsity=0.8)
    assert list(selection) == ["expand.weight", "project.weight"]
    assert selection.dense["depthwise.weight"] == "a depthwise convolution"


def test_shortcuts_are_known_by_name_or_by_stride() -> None:
    """Both 1×1 convolutions beside the path stay dense, the bottleneck's own does not."""
    selection = select_targets(Residual(), "irregular", sparsity=0.8)
    assert list(selection) == ["reduce.weight", "conv2.weight", "hidden.weight"]
    assert selection.dense["downsample.0.weight"] == selection.dense["beside.weight"] == "a shortcut"


def test_what_a_scheme_cannot_take_stays_dense_and_is_listed() -> None:
    """1×1 and linear layers under pattern, with the reason."""
    selection = select_targets(Residual(), "pattern", sparsity=0.8)
    assert list(selection) == ["conv2.weight"]
    assert "3×3 kernels and it has 1×1" in selection.dense["reduce.weight"]
    assert "no kernels" in selection.dense["hidden.weight"]


def test_a_model_without_a_linear_layer_ends_in_its_last_convolution() -> None:
    """Fully convolutional networks classify by a convolution."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 10, 1))
    assert list(select_targets(model, "block", sparsity=0.9)) == ["1.weight"]


def test_no_layer_left_is_an_error_with_reasons() -> None:
    """Not a run that trains dense without saying so."""
    with pytest.raises(InputError, match=r"no layer of this model can be sparse.*0\.weight: the first convolution"):
        select_targets(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2)), "block", sparsity=0.9)


def test_a_profile_names_what_is_sparse() -> None:
    """Ratios by layer, 0 for dense, another scheme for one of them, a data-parallel prefix taken off."""
    profile = {
        "prune_ratios": {"module.conv2.weight": 0.75, "reduce.weight": 0.5, "head.weight": 0},
        "schemes": {"reduce.weight": "channel"},
    }
    selection = select_targets(Residual(), "pattern", profile=profile)
    assert selection.targets == {
        "reduce.weight": Target("reduce.weight", 0.5, Channel()),
        "conv2.weight": Target("conv2.weight", 0.75, Pattern()),
    }


def test_all_problems_of_a_profile_are_reported_together() -> None:
    """A foreign name with the nearest, a shape, a sparsity that pattern cannot have: one message, nothing ignored."""
    profile = {"conv2.weights": 0.9, "reduce.weight": 0.9, "conv2.weight": 0.5}
    with pytest.raises(InputError) as caught:
        select_targets(Residual(), "pattern", profile=profile)
    message = str(caught.value)
    assert "conv2.weights: the model has no convolution or linear weight of this name, nearest: conv2.weight" in message
    assert "reduce.weight: patterns are for 3×3 kernels" in message
    assert "conv2.weight: sparsity 0.5: scheme pattern cannot be below 5/9" in message
    assert "\n" not in message


def test_ten_channels_do_not_divide_into_blocks_of_four() -> None:
    """The message of the design, word for word."""
    model = nn.Sequential(nn.Conv2d(3, 10, 3))
    with pytest.raises(InputError) as caught:
        select_targets(model, "block", profile={"0.weight": 0.9})
    assert str(caught.value).endswith(
        "0.weight: 10 output channels do not divide into blocks of 4; use scheme irregular for this layer"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity: 1.0 is not a weight sparsity"),
        ({"sparsity": 0}, "sparsity 0 leaves nothing sparse"),
        ({"sparsity": 0.9, "distribution": "normal"}, "known: uniform, erk"),
        ({}, "either a profile or a sparsity"),
        ({"sparsity": 0.9, "profile": {"0.weight": 0.9}}, "either a profile or a sparsity"),
        ({"profile": {"conv2.weight": 0}}, "every ratio is 0"),
    ],
)
def test_options_that_select_nothing_are_refused(options: dict[str, object], message: str) -> None:
    """One line each."""
    with pytest.raises(InputError, match=message):
        select_targets(Residual(), "irregular", **options)  # type: ignore[arg-type]


def test_erk_keeps_the_whole_and_favours_small_layers() -> None:
    """The kept weights add up to what was asked, never more; the layer of few weights per channel is densest."""
    shapes = {"a": (16, 16, 3, 3), "b": (64, 64, 3, 3), "c": (64, 64, 1, 1)}
    sparsities = erk_sparsities(shapes, Fraction(9, 10))
    weights = {"a": 2304, "b": 36864, "c": 4096}
    kept = sum((1 - sparsities[name]) * weights[name] for name in shapes)
    asked = 0.1 * sum(weights.values())
    assert 0.999 * asked <= kept <= asked
    assert sparsities["b"] > sparsities["a"]


def test_erk_caps_a_layer_at_the_densest() -> None:
    """What a small layer cannot take goes to the others; at pattern's floor it is 5/9 and not 0."""
    shapes = {"small": (4, 4, 3, 3), "large": (64, 64, 3, 3)}
    assert erk_sparsities(shapes, Fraction(1, 2))["small"] == 0
    capped = erk_sparsities(shapes, Fraction(6, 10), Fraction(5, 9))
    assert Fraction(5, 9) <= Fraction(str(capped["small"])) < Fraction(5, 9) + Fraction(1, 1000)


def test_erk_lists_the_layers_that_it_keeps_dense() -> None:
    """They have no target, and say so."""
    selection = select_targets(MODELS["digits"](classes=10), "irregular", sparsity=0.3, distribution="erk")
    assert "the distribution keeps all of it" in selection.dense.values()


def test_layers_come_in_module_order_and_shared_weights_once() -> None:
    """A weight that two modules use is one layer."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv1d(4, 4, 3))
    model[1].weight = model[0].weight
    assert layers_of(model) == (Layer("0.weight", (4, 4)), Layer("2.weight", (4, 4, 3), 1, (1,)))


def test_wrapped_models_have_the_bare_models_names() -> None:
    """Inside DataParallel and torch.compile the parameters keep the names of a profile."""
    model = nn.Sequential(nn.Linear(4, 4))
    assert bare(nn.DataParallel(model)) is model
    assert bare(torch.compile(model)) is model
    assert layers_of(nn.DataParallel(model)) == layers_of(model)


def test_schemes_are_accepted_as_values() -> None:
    """A name or a value, both the same."""
    assert select_targets(Residual(), Irregular(), sparsity=0.5) == select_targets(
        Residual(), "irregular", sparsity=0.5
    )


def complete(model: nn.Module, selection: Selection) -> None:
    """Every parameter of two or more dimensions is sparse or dense, and none is both."""
    named = [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
    assert sorted([*selection, *selection.dense]) == sorted(named)


class Everything(nn.Module):
    """One of each thing that has a parameter of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 4, 8))
        self.embedding = nn.Embedding(10, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.lstm = nn.LSTM(8, 8)
        self.cell = nn.GRUCell(8, 8)
        self.up, self.further = nn.ConvTranspose1d(8, 8, 3), nn.ConvTranspose1d(8, 8, 3)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.old = nn.utils.weight_norm(nn.Linear(8, 8))
        self.spectral = nn.Sequential(*(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)) for _ in range(6)))
        self.complex = nn.Linear(8, 8, dtype=torch.complex64)
        self.bilinear = nn.Bilinear(8, 8, 8)
        self.hidden = nn.Linear(8, 8)
        self.last = nn.Linear(8, 4)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_every_parameter_is_sparse_or_dense_with_a_reason() -> None:
    """Attention, recurrent and transposed layers, embeddings, parametrized and complex weights, one's own."""
    model = Everything()
    selection = select_targets(model, "irregular", sparsity=0.5)
    complete(model, selection)
    assert list(selection) == ["attention.out_proj.weight", "further.weight", "hidden.weight"]
    for name, reason in {
        "positions": "a parameter of Everything",
        "embedding.weight": "an embedding",
        "attention.in_proj_weight": "a projection inside MultiheadAttention",
        "lstm.weight_ih_l0": "a weight of a recurrent layer",
        "cell.weight_hh": "a weight of a recurrent layer",
        "up.weight": "the first convolution",
        "normed.parametrizations.weight.original1": "a part of a parametrized weight",
        "old.weight_v": "what its layer's weight is computed from",
        "spectral.5.parametrizations.weight.original": "a part of a parametrized weight",
        "complex.weight": "its numbers are complex64",
        "bilinear.weight": "a parameter of Bilinear",
        "last.weight": "the classifier",
    }.items():
        assert selection.dense[name].startswith(reason), name
    by_profile = select_targets(model, "irregular", profile={"hidden.weight": 0.5})
    complete(model, by_profile)
    sparsifier = sparsify(model, torch.optim.SGD(model.parameters(), 0.1), scheme="irregular", sparsity=0.5)
    assert sparsifier.dense == selection.dense
    for targets, schedule in ((selection, dense(4)), (dict(selection), em(4))):
        rest = Sparsifier(model, targets, schedule)
        complete(model, Selection(rest.targets, rest.dense))


@pytest.mark.parametrize(
    ("scheme", "sparse"), [("irregular", True), ("block", True), ("pattern", False), ("channel", False)]
)
def test_transposed_convolutions_are_sparse_in_single_weights_and_blocks(scheme: str, sparse: bool) -> None:
    """Blocks are of input channels, which its weight (in, out, kh, kw) has first: 8 here, which 4 divides."""
    up = nn.ConvTranspose2d(8, 6, 3)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), up, nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(8, 2))
    selection = select_targets(model, scheme, sparsity=0.75)
    assert ("1.weight" in selection) == sparse
    if not sparse:
        assert selection.dense["1.weight"].startswith(f"a transposed convolution, which scheme {scheme} is not for")
        with pytest.raises(InputError, match=f"1.weight: a transposed convolution, which scheme {scheme} is not for"):
            select_targets(model, scheme, profile={"1.weight": 0.75})


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("normed.weight", r"normed\.parametrizations\.weight\.original0: a part of a parametrized weight"),
        ("old.weight", r"old\.weight_v: what its layer's weight is computed from"),
        ("lstm.weight_ih_l0", "only convolutions and linear layers are made sparse"),
        ("complex.weight", "its numbers are complex64; float32"),
    ],
)
def test_a_profile_cannot_name_what_holds_no_mask(name: str, message: str) -> None:
    """In words that name the parameter and say why."""
    with pytest.raises(InputError, match=message):
        select_targets(Everything(), "irregular", profile={name: 0.5})


def test_lazy_and_meta_layers_are_refused() -> None:
    """They have nothing to prune yet."""
    with pytest.raises(InputError, match=r"1\.weight: a lazy layer.*run one batch"):
        select_targets(nn.Sequential(nn.Linear(4, 4), nn.LazyLinear(4)), "irregular", sparsity=0.5)
    with torch.device("meta"), pytest.raises(InputError, match="on the meta device"):
        select_targets(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "irregular", profile={"0.weight": 0.5})


class Teacher(nn.Module):
    """A student, and last in the model a frozen teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
        self.teacher = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)).requires_grad_(False)


def test_frozen_layers_stay_dense() -> None:
    """A teacher is neither pruned nor taken for the classifier."""
    selection = select_targets(Teacher(), "irregular", sparsity=0.5)
    assert list(selection) == ["student.0.weight"]
    assert selection.dense["student.1.weight"] == "the classifier"
    assert selection.dense["teacher.0.weight"] == "frozen (requires_grad is False)"
    complete(Teacher(), selection)


def test_a_frozen_layer_that_a_profile_names_is_pruned_once() -> None:
    """It has no gradient and no optimizer, and keeps its mask to the end of the run."""
    for method in ("em", "ems", "rigl"):
        model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4))
        model[0].weight.requires_grad_(False)
        optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], 0.1)
        profile = {"0.weight": 0.8, "1.weight": 0.8}
        sparsifier = sparsify(
            model, optimizer, scheme="irregular", profile=profile, method=method, epochs=8, update_every_epochs=2
        )
        before = model[0].weight.clone()
        assert int(before.count_nonzero()) == 51
        for epoch in range(8):
            sparsifier.start_epoch(epoch)
            optimizer.zero_grad()
            model(torch.randn(4, 16)).square().sum().backward()
            optimizer.step()
        sparsifier.finish()
        assert torch.equal(before, model[0].weight)
        assert sparsifier.at_target


def test_the_classifier_is_what_the_user_names() -> None:
    """By weight or by module, one or several, or none; other layers can be kept dense beside it."""
    model = nn.ModuleDict({name: nn.Linear(8, 8) for name in ("first", "second", "third")})
    assert select_targets(model, "irregular", sparsity=0.5).dense == {"third.weight": "the classifier"}
    named = select_targets(model, "irregular", sparsity=0.5, classifier=["first", "second.weight"])
    assert named.dense == {"first.weight": "the classifier", "second.weight": "the classifier"}
    assert not select_targets(model, "irregular", sparsity=0.5, classifier=[]).dense
    kept = select_targets(model, "irregular", sparsity=0.5, dense="first")
    assert kept.dense == {"first.weight": "asked to stay dense", "third.weight": "the classifier"}
    with pytest.raises(InputError, match=r"thrid: the model has no convolution or linear layer.*nearest: third"):
        select_targets(model, "irregular", sparsity=0.5, classifier="thrid")
    with pytest.raises(InputError, match=r"leave classifier and dense out"):
        select_targets(model, "irregular", profile={"first.weight": 0.5}, classifier="third")


def test_heads_are_known_by_their_names() -> None:
    """Several, nested, or defined before the body; attention heads deep inside are none."""
    body = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    for names in (["head"], ["head_a", "cls_head"], ["classifier"]):
        heads = {name: nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)) for name in names}
        selection = select_targets(nn.ModuleDict({**heads, "body": body}), "irregular", sparsity=0.5)
        assert selection.dense == {f"{name}.1.weight": "the classifier" for name in names}
    attention = nn.ModuleDict({"multihead_attn": nn.MultiheadAttention(8, 2), "out": nn.Linear(8, 4)})
    assert "out.weight" in select_targets(attention, "irregular", sparsity=0.5).dense


def test_a_weight_shared_with_an_embedding_stays_dense() -> None:
    """Under both of its names, and a profile may still make it sparse."""
    model = nn.ModuleDict({"words": nn.Embedding(10, 8), "body": nn.Linear(8, 8), "out": nn.Linear(8, 10, bias=False)})
    model["out"].weight = model["words"].weight
    selection = select_targets(model, "irregular", sparsity=0.5, classifier=[])
    assert list(selection) == ["body.weight"]
    assert selection.dense == {
        "out.weight": "shared with words.weight",
        "words.weight": "shared with out.weight",
    }
    assert list(select_targets(model, "irregular", profile={"out.weight": 0.5})) == ["out.weight"]
