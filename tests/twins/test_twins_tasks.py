"""Tasks: the workstation and the board judge the same answers alike, read the same targets, or both refuse them."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="one of the twins is training, which needs PyTorch")

from edge.data.batches import Batches  # noqa: E402
from edge.data.open import open_source  # noqa: E402
from edge.data.preprocess import Preprocess as OnBoard  # noqa: E402
from edge.engines.reference.loss import LOSSES  # noqa: E402
from edge.errors import EdgeError  # noqa: E402
from edge.tasks.registry import TASKS as ON_BOARD  # noqa: E402
from edge.tasks.segmentation import IGNORED as IGNORED_ON_BOARD  # noqa: E402
from mest.data import DataSpec, open_data  # noqa: E402
from mest.data.augment import Augment  # noqa: E402
from mest.data.images import ImagesInMemory  # noqa: E402
from mest.data.labelled import open_labelled  # noqa: E402
from mest.data.loader import Samples  # noqa: E402
from mest.data.preprocess import Preprocess  # noqa: E402
from mest.errors import MestError  # noqa: E402
from mest.tasks.registry import TASKS  # noqa: E402
from mest.tasks.segmentation import IGNORED  # noqa: E402

INPUT = (2, 3, 5)


def test_the_same_tasks_and_metrics() -> None:
    """Their names, what they are called in an npz file, and which direction is better."""
    assert list(TASKS) == list(ON_BOARD)
    assert IGNORED == IGNORED_ON_BOARD
    for name, task in TASKS.items():
        board = ON_BOARD[name]
        facts = [(each.key, each.label, each.higher_is_better, each.is_share) for each in task.metrics]
        assert facts == [(each.key, each.label, each.higher_is_better, each.is_share) for each in board.metrics]
        assert (task.array, task.of_classes, task.masks_images) == (board.array, board.of_classes, board.masks_images)
        assert task.output(3, INPUT) == board.output(3, INPUT)


@pytest.mark.parametrize("name", TASKS)
@given(seed=st.integers(0, 99), count=st.integers(1, 6))
def test_loss_its_gradient_and_metrics(name: str, seed: int, count: int) -> None:
    """The numpy loss is PyTorch's mean and its gradient autograd's, in float64; and so are the metrics."""
    task, board, random = TASKS[name], ON_BOARD[name], np.random.default_rng(seed)
    answers = random.normal(0, 3, (count, *board.output(3, INPUT)))
    images = random.normal(size=(count, *INPUT))
    targets = board.noise(count, answers.shape[1:], random)
    smoothing = 0.1 if task.of_classes else 0.0
    tensor = torch.from_numpy(answers).requires_grad_()
    wanted = task.against(torch.from_numpy(images), torch.from_numpy(targets))
    terms = task.terms(wanted, count, lambda own: own)
    loss = task.loss_sum(tensor, wanted, smoothing) / terms
    loss.backward()
    found, gradient = LOSSES[name](answers, board.against(images, targets), smoothing)
    assert found == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-7, atol=1e-12)
    assert terms == board.terms(targets, answers.shape[1:])
    theirs = task.values(task.counts(tensor.detach(), wanted).tolist(), count)
    assert theirs == pytest.approx(board.values(board.counts(answers, board.against(images, targets))), abs=1e-9)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "classification"])
@given(seed=st.integers(0, 99), compressed=st.booleans(), images=st.booleans())
def test_targets_reach_both(name: str, seed: int, compressed: bool, images: bool) -> None:
    """From an npz file, stored or compressed, of images or of numbers."""
    task, board, random = TASKS[name], ON_BOARD[name], np.random.default_rng(seed)
    key = "images" if images else "inputs"
    entries = random.integers(0, 256, (9, 6, 5, 3), np.uint8) if images else random.normal(size=(9, 3, 6, 5))
    output = board.output(4, (3, 6, 5))
    targets = {task.array: board.noise(9, output, random)} if task.array else {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "d.npz"
        save = np.savez_compressed if compressed else np.savez
        save(path, **{key: entries if images else entries.astype(np.float32)}, **targets)
        data = open_data(DataSpec(f"npz:{path}", task=task))
        plan = OnBoard.from_json(data.preprocess.as_dict())
        source = open_source(str(path), data.class_names, None, plan, task=board, output=output)
        found = Batches(source, plan, (3, 6, 5), 9, output=output).read(np.arange(9))
        source.close()
        for part, chosen in ((data.train, [0, 1, 2, 3, 5, 6, 7, 8]), (data.test, [4])):
            pixels, wanted, _ = Samples(part, data.augment).__getitems__(range(len(part)))
            np.testing.assert_array_equal(found[1][chosen], wanted.numpy())
            np.testing.assert_allclose(found[0][chosen], data.preprocess.normalise(pixels).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("multilabel", np.full((9, 2), 2, np.uint8)),
        ("multilabel", np.zeros((9, 2), np.int64)),
        ("multilabel", np.zeros((8, 2), np.uint8)),
        ("regression", np.zeros(9, np.float32)),
        ("regression", np.zeros((9, 2))),
        ("regression", np.full((9, 2), np.inf, np.float32)),
        ("segmentation", np.zeros((9, 6, 4), np.uint8)),
        ("segmentation", np.zeros((9, 6, 5), np.int64)),
    ],
)
def test_both_refuse_bad_targets(name: str, targets: np.ndarray, tmp_path: Path) -> None:
    """In one line that names the file and the array."""
    path, plan = tmp_path / "d.npz", OnBoard("L", None, None, "bilinear", (0.5,), (0.5,))
    np.savez(path, images=np.zeros((9, 6, 5), np.uint8), **{str(TASKS[name].array): targets})
    with pytest.raises(MestError, match=f"{TASKS[name].array}") as workstation:
        open_data(DataSpec(f"npz:{path}", task=TASKS[name]))
    output = ON_BOARD[name].output(2, (1, 6, 5))
    with pytest.raises(EdgeError, match=f"{TASKS[name].array}") as board:
        open_source(str(path), ("0", "1"), None, plan, task=ON_BOARD[name], output=output)
    for refusal in (workstation, board):
        assert str(path) in str(refusal.value)
        assert "\n" not in str(refusal.value)


@given(
    height=st.integers(4, 20),
    width=st.integers(4, 20),
    resize=st.sampled_from([None, 4, 6, (5, 7)]),
    crop=st.sampled_from([None, (4, 4)]),
)
def test_masks_are_prepared_alike(height: int, width: int, resize, crop) -> None:
    """By the nearest pixel, and to the size that the image gets."""
    mask = np.random.default_rng(height * width).integers(0, 4, (height, width), np.uint8)
    described = {"mode": "L", "resize": resize, "crop": crop, "interpolation": "bilinear", "mean": [0.5], "std": [0.5]}
    described = {key: list(value) if isinstance(value, tuple) else value for key, value in described.items()}
    theirs, ours = Preprocess.from_dict(described).mask(mask), OnBoard.from_json(described).mask(mask)
    np.testing.assert_array_equal(theirs, ours)
    if resize is None and crop is None:
        np.testing.assert_array_equal(ours, mask)


SIZES = ((12, 9), (9, 12), (8, 8), (20, 11), (9, 9), (10, 16))


def masked_folder(root: Path, part: str = ".") -> None:
    """Six photos of other sizes with masks of three classes, grey levels and palettes in turn."""
    random = np.random.default_rng(len(part))
    for name in ("images", "masks"):
        (root / part / name).mkdir(parents=True)
    for number, size in enumerate(SIZES):
        pixels, mask = random.integers(0, 256, (*size, 3), np.uint8), random.integers(0, 3, size, np.uint8)
        mask[0] = IGNORED
        mask[1:3, 1:3] = 2
        Image.fromarray(pixels).save(root / part / "images" / f"{number}.png")
        stored = Image.fromarray(mask)
        if number % 2:
            stored = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
            stored.putpalette(bytes(range(256)) * 3)
        stored.save(root / part / "masks" / f"{number}.png")


@pytest.mark.parametrize("parts", [(".",), ("train", "test"), ("train", "test", "valid")])
def test_folders_of_images_with_masks(parts: tuple[str, ...], tmp_path: Path) -> None:
    """Resized and cut out together with their images; what is for the test is the same on both sides."""
    for part in parts:
        masked_folder(tmp_path, part)
    (tmp_path / "classes.txt").write_text("road\nsky\ntree\n")
    task, board = TASKS["segmentation"], ON_BOARD["segmentation"]
    data = open_data(DataSpec(f"imagefolder:{tmp_path}", image_size=8, task=task))
    assert data.class_names == ("road", "sky", "tree")
    plan, output = OnBoard.from_json(data.preprocess.as_dict()), board.output(3, (3, 8, 8))
    source = open_source(str(tmp_path), data.class_names, None, plan, task=board, output=output)
    batches = Batches(source, plan, (3, 8, 8), 12, output=output)
    chosen = np.array([4]) if len(parts) == 1 else source.test_indices
    images, masks = batches.read(chosen)
    pixels, wanted, _ = Samples(data.test, data.augment).__getitems__(range(len(data.test)))
    np.testing.assert_array_equal(masks, wanted.numpy())
    np.testing.assert_allclose(images, data.preprocess.normalise(pixels).numpy(), atol=1e-6)
    labelled = open_labelled(DataSpec(f"imagefolder:{tmp_path}", task=task), data.preprocess, data.class_names)
    assert len(labelled.images) == (6 if len(parts) > 1 else len(source.labels))
    before = data.checksum
    Image.fromarray(np.zeros(SIZES[0], np.uint8)).save(tmp_path / parts[0] / "masks" / "0.png")
    assert open_data(DataSpec(f"imagefolder:{tmp_path}", image_size=8, task=task)).checksum != before


def broken(folder: Path, how: str) -> None:
    """Alter a folder so that no mask, or one of another kind, lies beside an image."""
    mask = folder / "masks" / "1.png"
    if how == "missing":
        mask.unlink()
    elif how == "size":
        Image.fromarray(np.zeros((3, 3), np.uint8)).save(mask)
    elif how == "colour":
        Image.fromarray(np.zeros((*SIZES[1], 3), np.uint8)).save(mask)
    elif how == "damaged":
        mask.write_bytes(mask.read_bytes()[:40])
    else:
        shutil.rmtree(folder / "masks")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", "1.png: is missing; every image needs a mask"),
        ("size", "1.png: is 3x3, its image 9x12"),
        ("colour", "1.png: has mode RGB; a mask is a grey or palette PNG"),
        ("damaged", "1.png: not a readable PNG"),
        ("none", "has no folder 'masks'"),
    ],
)
def test_both_refuse_a_bad_mask(how: str, said: str, tmp_path: Path) -> None:
    """In the same words, with the file's name."""
    masked_folder(tmp_path)
    broken(tmp_path, how)
    plan = OnBoard("RGB", 8, (8, 8), "bilinear", (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(MestError, match=said):
        open_data(DataSpec(f"imagefolder:{tmp_path}", image_size=8, task=TASKS["segmentation"]))
    with pytest.raises(EdgeError, match=said):
        open_source(str(tmp_path), ("0", "1", "2"), None, plan, task=ON_BOARD["segmentation"], output=(3, 8, 8))


def test_folders_of_images_alone(tmp_path: Path) -> None:
    """For an autoencoder: those of any folder, with other folders in the test than in training."""
    for number, name in enumerate(("train/good", "test/good", "test/scratched")):
        (tmp_path / name).mkdir(parents=True)
        for index in range(3):
            pixels = np.full((6, 6), 40 * number + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    data = open_data(DataSpec(f"imagefolder:{tmp_path}", task=TASKS["reconstruction"]))
    plan = OnBoard.from_json(data.preprocess.as_dict())
    source = open_source(str(tmp_path), ("0",), None, plan, task=ON_BOARD["reconstruction"], output=(1, 6, 6))
    assert source.test_indices.tolist() == [3, 4, 5, 6, 7, 8]
    images, targets = Batches(source, plan, (1, 6, 6), 6, output=(1, 6, 6)).read(source.test_indices)
    pixels, wanted, _ = Samples(data.test, data.augment).__getitems__(range(6))
    assert targets.shape == tuple(wanted.shape) == (6, 0)
    np.testing.assert_allclose(images, data.preprocess.normalise(pixels).numpy(), atol=1e-6)


def test_a_mask_moves_with_its_image() -> None:
    """Whatever a board draws: a mask that repeats the image still does, and what enters at the edge has no class."""
    random = np.random.default_rng(0)
    images = random.integers(1, 4, (20, 9, 7), np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "d.npz"
        np.savez(path, images=images, masks=images)
        plan = OnBoard("L", None, None, "bilinear", (0.0,), (1 / 255,))
        source = open_source(str(path), tuple("0123"), None, plan, task=ON_BOARD["segmentation"], output=(4, 9, 7))
        moved, masks = Batches(source, plan, (1, 9, 7), 20, augment="crop-flip", output=(4, 9, 7)).read(
            np.arange(20), 1
        )
        source.close()
    assert (masks == IGNORED).any()
    np.testing.assert_allclose(np.where(masks == IGNORED, 0, masks), moved[:, 0], atol=1e-3)
    augment = Augment(3, flip=True)
    samples = Samples(ImagesInMemory(images, images[..., None]), augment, augment.draws(20, 0, 0))
    pixels, wanted, _ = (part.numpy() for part in samples.__getitems__(range(20)))
    np.testing.assert_array_equal(np.where(wanted == IGNORED, 0, wanted), pixels[:, 0])
