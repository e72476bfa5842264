"""A model in a program becomes an artifact, and what a board made of it goes back into the same loop."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import edge
import export
import mest
from edge.errors import InputError as BoardInputError
from edge.handover.artifact import open_artifact
from edge.weight.formats import decode, kept_mask
from export.checks.observe import native_missing
from export.live import _optimizer
from mest.cli import main
from mest.errors import InputError

native = pytest.mark.skipif(native_missing() is not None, reason=str(native_missing()))
IMAGES = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(3))
LABELS = torch.arange(30) % 3
SAID = {"class_names": ["ant", "bee", "cat"], "preprocess": {"mean": 0.5, "std": 0.25}}
OPTIONS = {"sparsity": 0.75, "method": "em", "epochs": 8, "update_every_epochs": 2}


class Own(nn.Module):
    """A model that mest knows nothing of."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(width, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.relu(self.norm(self.first(images)))
        hidden = torch.relu(hidden + self.third(torch.relu(self.second(hidden))))
        return self.out(hidden.mean((2, 3)))


def own_model(seed: int = 0) -> Own:
    torch.manual_seed(seed)
    return Own()


def epoch_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model.train()
    for start in range(0, 30, 10):
        optimizer.zero_grad()
        images, labels = IMAGES[start : start + 10], LABELS[start : start + 10]
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def logits_of(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(IMAGES).numpy()


@pytest.fixture(scope="module", params=["block", "channel"])
def road(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A loop of three epochs, its artifact, the state of a board that trained and mutated, and the board's logits."""
    folder = tmp_path_factory.mktemp("road")
    model = own_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.8, weight_decay=1e-3)
    sparsifier = mest.sparsify(model, optimizer, scheme=request.param, **OPTIONS)
    for epoch in range(3):
        sparsifier.start_epoch(epoch)
        epoch_of(model, optimizer)
    before = copy.deepcopy(model.state_dict())
    manifest = export.export_model(
        model, folder / "art", example_input=IMAGES, sparsifier=sparsifier, optimizer=optimizer, **SAID
    )
    after = model.state_dict()
    assert model.training
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with edge.load(folder / "art", engine="native", mutate="em") as board:
        for _ in range(3):
            board.train_step(IMAGES.numpy(), LABELS.numpy(), 0.05)
        board.mutate(0.0, seed=1)
        board.train_step(IMAGES.numpy(), LABELS.numpy(), 0.05)
        board.save(folder / "state")
        logits = board.predict(IMAGES.numpy())
    return model, optimizer, sparsifier, manifest, folder, logits


@native
def test_artifact_of_a_live_model_is_verified_and_says_what_was_given(road) -> None:
    """Every engine that is here agreed with PyTorch; constants of the optimizer, names and preprocessing are kept."""
    _, _, _, manifest, folder, _ = road
    assert set(manifest.reference["agreement"]) >= {"reference", "native"}
    assert max(manifest.reference["agreement"].values()) <= 1
    assert manifest.class_names == ("ant", "bee", "cat")
    assert manifest.preprocess == {
        "mode": "L",
        "resize": [8, 8],
        "crop": None,
        "interpolation": "bilinear",
        "mean": [0.5],
        "std": [0.25],
    }
    assert (manifest.optimizer["kind"], manifest.optimizer["momentum"]) == ("sgd", 0.8)
    assert main(["verify", str(folder / "art")]) == 0


@native
def test_training_goes_on_in_the_loop_where_the_board_left_it(road) -> None:
    """The model computes what the board did, its masks are the board's, and the loop's next epoch trains from there."""
    model, optimizer, sparsifier, _, folder, logits = copy.copy(road)
    before = {name: mask.clone() for name, mask in sparsifier.masks.items()}
    assert np.abs(logits_of(model) - logits).max() > 1e-3
    restored = export.restore_state(folder / "state", model, sparsifier)
    np.testing.assert_allclose(logits_of(model), logits, atol=1e-5)
    assert restored.engine == "native"
    assert any(not torch.equal(mask, before[name]) for name, mask in sparsifier.masks.items())
    assert all(torch.equal(mask, sparsifier.masks[name]) for name, mask in restored.masks.items())
    assert sparsifier.zeros_kept
    assert sparsifier.epoch == 2
    for epoch in range(3, 8):
        sparsifier.start_epoch(epoch)
        epoch_of(model, optimizer)
    sparsifier.finish()
    assert sparsifier.zeros_kept
    assert sparsifier.at_target
    assert np.abs(logits_of(model) - logits).max() > 1e-3


@native
def test_a_fresh_program_takes_the_state_at_its_position(road) -> None:
    """A model and a sparsifier made in the same way continue at the epoch that was exported, in another process too."""
    _, _, old, _, folder, logits = road
    model = own_model(seed=9)
    if "channel" in str(old.layers()[0].scheme):  # filters that export removed are not on the board
        model.load_state_dict(road[0].state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.8)
    sparsifier = mest.sparsify(model, optimizer, scheme=str(old.layers()[0].scheme), **OPTIONS)
    export.restore_state(folder / "state", model, sparsifier)
    np.testing.assert_allclose(logits_of(model), logits, atol=1e-5)
    assert sparsifier.epoch == 2
    sparsifier.start_epoch(3)
    epoch_of(model, optimizer)
    assert sparsifier.zeros_kept


@native
def test_another_run_begins_with_the_masks_that_came_back(road) -> None:
    """Without a sparsifier the weights come back alone, and their masks start a run of its own."""
    old, folder = road[2], road[4]
    scheme = str(old.layers()[0].scheme)
    model = own_model()
    model.load_state_dict(road[0].state_dict())
    restored = export.restore_state(folder / "state", model)
    optimizer = torch.optim.AdamW(model.parameters())
    sparsifier = mest.sparsify(model, optimizer, masks=restored.masks, scheme=scheme, method="ems", epochs=4)
    assert all(torch.equal(mask, sparsifier.masks[name]) for name, mask in restored.masks.items())
    sparsifier.start_epoch(0)
    epoch_of(model, optimizer)
    assert sparsifier.zeros_kept


@native
def test_what_does_not_fit_is_refused_and_changes_nothing(road, tmp_path: Path) -> None:
    """Another model, another setting of the sparsifier, a model of other widths: refused whole."""
    _, _, old, _, folder, _ = road
    model = own_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = mest.sparsify(model, optimizer, scheme=str(old.layers()[0].scheme), **{**OPTIONS, "epochs": 9})
    before = copy.deepcopy((model.state_dict(), sparsifier.masks, sparsifier.epoch))
    with pytest.raises(InputError, match="not set up as the one that was exported"):
        export.restore_state(folder / "state", model, sparsifier)
    with pytest.raises(InputError, match="holds another model"):
        export.restore_state(folder / "state", own_model(), sparsifier)
    after = (model.state_dict(), sparsifier.masks, sparsifier.epoch)
    for part in (0, 1):
        assert all(torch.equal(value, after[part][name]) for name, value in before[part].items())
    assert before[2] == after[2]
    narrow = Own(4)
    narrow.out = nn.Linear(4, 3)
    with pytest.raises(InputError, match=r"out.weight|too small"):
        export.restore_state(folder / "state", narrow)
    with pytest.raises(InputError, match="the model has no parameter of this name"):
        export.restore_state(folder / "state", nn.Sequential(nn.Linear(2, 2)))
    assert main(["export", str(folder / "state"), "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()


def pruned(how: str) -> nn.Module:
    """The model as another library leaves it, half of two layers gone."""
    model = own_model(4)
    model(IMAGES)
    for layer in (model.second, model.third):
        prune.random_unstructured(layer, "weight", amount=0.5)
        if how == "zeros":
            prune.remove(layer, "weight")
    model(IMAGES)  # what prune computes has a history now
    return model


@pytest.mark.parametrize("how", ["zeros", "torch.nn.utils.prune"])
def test_a_model_pruned_elsewhere_is_exported_with_its_zeros(how: str, tmp_path: Path) -> None:
    """Zeros alone say what is sparse; a weight that prune computes keeps its mask, and stays so in the program."""
    model = pruned(how)
    held = {name: mask.clone() for name, mask in mest.masks_of(model).items()}
    names = list(model.state_dict())
    export.export_model(model, tmp_path / "art", example_input=(1, 8, 8), **SAID)
    assert list(model.state_dict()) == names
    network = open_artifact(tmp_path / "art").network
    sparse = network.sparse_parameters()
    assert sparse.keys() == held.keys() == {"second.weight", "third.weight"}
    for name, parameter in sparse.items():
        np.testing.assert_array_equal(kept_mask(parameter), held[name].numpy())
        path = model.get_submodule(name.removesuffix(".weight"))
        np.testing.assert_array_equal(decode(parameter), path.weight.detach().numpy())
        assert parameter.scheme == "irregular"


@native
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_taken_off(wrap, tmp_path: Path) -> None:
    """Names in the artifact are the model's own, and the state goes back through the wrapper."""
    model = own_model()
    manifest = export.export_model(wrap(model), tmp_path / "art", example_input=IMAGES[0], **SAID)
    assert {layer["name"] for layer in manifest.layers} == {
        "first.weight",
        "second.weight",
        "third.weight",
        "out.weight",
    }
    with edge.load(tmp_path / "art", engine="native") as board:
        board.save(tmp_path / "state")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for tensor in (*model.parameters(), model.norm.running_mean, model.norm.running_var):
            tensor.add_(1.0)
    export.restore_state(tmp_path / "state", wrap(model))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Preprocessing, names and counts are refused together, and nothing is written."""
    with pytest.raises(InputError) as refused:
        export.export_model(
            own_model(),
            tmp_path / "art",
            example_input=IMAGES,
            class_names=["a", "a"],
            preprocess={
                "mean": [0.5, 0.5],
                "std": 0,
                "resise": 9,
                "crop": 9,
                "interpolation": "lanczos",
                "mode": "RGB",
            },
        )
    for part in (
        "2 names for a model of 3 classes",
        "a given more than once",
        "mean [0.5, 0.5]: give a number, or one for each of the 1 channel(s)",
        "std 0: give numbers above 0",
        "unknown key 'resise', did you mean 'resize'?",
        "crop 9x9: the model takes 8x8",
        "interpolation 'lanczos'; allowed are nearest, bilinear, bicubic",
        "mode 'RGB' for 1 channel(s)",
    ):
        assert part in str(refused.value)
    assert not (tmp_path / "art").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preprocess": None}, "give the mean and std"),
        ({"example_input": torch.zeros(4, 16)}, "the model does not take inputs of 16"),
        ({"example_input": (1, 1, 2, 8, 8)}, "a board takes images"),
        ({"example_input": (2, 8, 8)}, "2 channels: allowed are 1"),
        ({"example_input": (3, 8, 8)}, "the model does not take images of 3x8x8"),
        ({"optimizer": "rmsprop"}, "a board has sgd and adamw"),
        ({"optimizer": {"kind": "sgd", "momentum": 1.5}}, "momentum 1.5; allowed are 0 to below 1"),
        ({"masks": {"second": torch.ones(8, 8, 3, 3)}, "scheme": "block"}, "no mask has a zero"),
        ({"masks": {"second": torch.eye(8)[:, :, None, None].expand(8, 8, 3, 3)}}, "outside its mask are not zero"),
        ({"preprocess": {"mean": 0, "std": 1, "resize": 9}}, "add crop"),
        ({"mutate": "yes"}, "allowed are none, em, ems"),
    ],
)
def test_what_cannot_be_exported_is_one_line(options: dict, message: str, tmp_path: Path) -> None:
    """Each refusal says what was given and what is allowed."""
    given = {"example_input": (1, 8, 8), **SAID, **options}
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        export.export_model(own_model(), tmp_path / "art", **given)
    assert not (tmp_path / "art").exists()


def test_a_model_that_answers_otherwise_in_training_is_refused(tmp_path: Path) -> None:
    """A dictionary in training alone would be met in the middle of verification."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = own_model()

        def forward(self, images: Tensor) -> object:
            logits = self.body(images)
            return {"out": logits} if self.training else logits

    with pytest.raises(InputError, match="gives a dict in training; return the logits alone"):
        export.export_model(Two(), tmp_path / "art", example_input=(1, 8, 8), **SAID)


def test_a_sparsifier_of_another_model_and_broken_zeros_are_refused(tmp_path: Path) -> None:
    """An artifact that has fewer weights than the model would compute something else."""
    model = own_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = mest.sparsify(model, optimizer, scheme="block", **OPTIONS)
    with pytest.raises(InputError, match="holds another model"):
        export.export_model(own_model(), tmp_path / "a", example_input=(1, 8, 8), sparsifier=sparsifier, **SAID)
    with torch.no_grad():
        model.second.weight.fill_(1.0)
    with pytest.raises(InputError, match=r"second.weight: weights outside its mask are not zero"):
        export.export_model(model, tmp_path / "a", example_input=(1, 8, 8), sparsifier=sparsifier, **SAID)


def test_a_torch_optimizer_gives_its_constants_or_is_refused() -> None:
    """What a board cannot do as the loop did it is said, never replaced in silence."""
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))]
    problems: list[str] = []
    adamw = _optimizer(torch.optim.AdamW(weights, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.3), problems)
    assert (adamw.kind, adamw.beta1, adamw.beta2, adamw.epsilon, adamw.weight_decay) == ("adamw", 0.8, 0.99, 1e-6, 0.3)
    assert not problems
    groups = [{"params": weights[:1], "weight_decay": 0.0}, {"params": weights[1:]}]
    for optimizer, message in (
        (torch.optim.SGD(groups, 0.1, weight_decay=0.1), "groups differ in weight_decay"),
        (torch.optim.SGD(weights, 0.1, momentum=0.9, dampening=0.5), "a board has no dampening"),
        (torch.optim.Adam(weights, weight_decay=0.1), "Adam's weight decay"),
        (torch.optim.RMSprop(weights), "optimizer RMSprop: a board has sgd and adamw"),
    ):
        problems = []
        _optimizer(optimizer, problems)
        assert [message in problem for problem in problems] == [True]


def test_a_scheme_of_one_s_own_reaches_the_board_and_may_not_move_there(tmp_path: Path) -> None:
    """Its zeros are stored and held; mutation, which would break their shape, is refused at export and on the board."""

    class Kernel(mest.sparse.Scheme):
        name = "whole_kernel"

        def grid(self, shape):
            return shape[:2]

        def unit_scores(self, score):
            return score.flatten(2).square().sum(2).sqrt()

        def expand(self, units, shape):
            return units[:, :, None, None].expand(shape)

        def problem(self, shape, groups=1):
            return None if len(shape) == 4 else "no kernels; use scheme irregular"

    model = own_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = mest.sparsify(model, optimizer, scheme=Kernel(), **OPTIONS)
    given = {"example_input": (1, 8, 8), "sparsifier": sparsifier, **SAID}
    with pytest.raises(InputError, match=r"second.weight has scheme whole_kernel, which no board knows"):
        export.export_model(model, tmp_path / "art", mutate="em", **given)
    manifest = export.export_model(model, tmp_path / "art", **given)
    assert [layer["scheme"] for layer in manifest.layers] == [None, "whole_kernel", "whole_kernel", None]
    with pytest.raises(BoardInputError, match=r"mutate em: second.weight has scheme whole_kernel"):
        edge.load(tmp_path / "art", mutate="em")
    assert main(["plan", str(tmp_path / "art"), "--mutate", "em"]) == 2
