"""Sparse training inside the loops of other libraries, against the libraries themselves; each where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mest.loops
from mest import Sparsifier, sparsify
from mest.errors import InputError
from mest.sparse import masks_of

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(1))
OPTIONS: dict[str, Any] = {"scheme": "irregular", "sparsity": 0.8, "method": "em", "update_every_epochs": 1}
EPOCHS = 4


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed (docs/own-loop.md)")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.net(x)
        return logits if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def assert_sparse(sparsifier: Sparsifier, optimizer: torch.optim.Optimizer) -> None:
    """Removed weights and their optimizer state are zero, and as many as asked for."""
    for name, mask in sparsifier.masks.items():
        weight = sparsifier.model.get_parameter(name)
        state = [value for value in optimizer.state[weight].values() if value.shape == mask.shape]
        assert state
        assert not any(bool(tensor.detach()[~mask].any()) for tensor in (weight, *state))
        assert int(mask.sum()) == int(0.2 * mask.numel())


def test_what_cannot_act_is_refused_before_a_trainer_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt option, one that the Trainer gives, and a library that is not there."""
    for ask in (mest.loops.trainer_callback, mest.loops.lightning_callback):
        with pytest.raises(InputError, match=r"sparsty: no option of mest\.sparsify; nearest: sparsity"):
            ask(sparsty=0.9)
        with pytest.raises(InputError, match="optimizer: comes from the Trainer"):
            ask(optimizer=None)
        with pytest.raises(InputError, match="steps_per_epoch"):
            ask(sparsity=0.9, steps_per_epoch=0)
    for library, module, ask in (
        ("transformers", "huggingface", mest.loops.trainer_callback),
        ("lightning", "lightning", mest.loops.lightning_callback),
    ):
        monkeypatch.setitem(__import__("sys").modules, library, None)
        monkeypatch.delitem(__import__("sys").modules, f"mest.loops.{module}", raising=False)
        with pytest.raises(InputError, match=r"no lightning|no transformers"):
            ask(sparsity=0.9)


def hugging_face(folder: Path, callback: Any, **options: Any) -> Any:
    from transformers import Trainer, TrainingArguments

    rows = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    given = {"num_train_epochs": EPOCHS, "save_strategy": "epoch"} | options
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        max_grad_norm=0.5,
        learning_rate=0.01,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        **given,
    )
    return Trainer(Net(), arguments, train_dataset=rows, eval_dataset=rows, callbacks=[callback])


@needs("transformers")
def test_the_trainer_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """From its own checkpoints, moved elsewhere too; one without masks is refused, and safetensors hold the zeros."""
    sparse = mest.loops.trainer_callback(**OPTIONS)
    with pytest.raises(InputError, match=r"call trainer.train\(\) first"):
        _ = sparse.sparsifier
    trainer = hugging_face(tmp_path / "run", sparse)
    trainer.train()
    assert_sparse(sparse.sparsifier, trainer.optimizer)
    assert sparse.sparsifier.finished
    wanted = trainer.model.state_dict()
    half = (tmp_path / "run" / "checkpoint-8").rename(tmp_path / "checkpoint-8")

    again = mest.loops.trainer_callback(resume_from=half, **OPTIONS)
    resumed = hugging_face(tmp_path / "other", again)
    resumed.train(resume_from_checkpoint=str(half))
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.model.state_dict().items())
    assert all(torch.equal(mask, sparse.sparsifier.masks[name]) for name, mask in again.sparsifier.masks.items())

    with pytest.raises(InputError, match=r"mest_sparsifier.pt: not there; give the folder of the resumed checkpoint"):
        hugging_face(tmp_path / "other2", mest.loops.trainer_callback(**OPTIONS)).train(
            resume_from_checkpoint=str(half)
        )
    from safetensors.torch import load_file

    plain = Net()
    plain.load_state_dict(load_file(tmp_path / "run" / "checkpoint-16" / "model.safetensors"))
    assert all(not bool((masks_of(plain)[name] & ~mask).any()) for name, mask in sparse.sparsifier.masks.items())


@needs("transformers")
def test_the_trainer_counts_steps_and_returns_to_its_best(tmp_path: Path) -> None:
    """A schedule of steps within one epoch; masks follow load_best_model_at_end; another length is refused."""
    steps = mest.loops.trainer_callback(steps_per_epoch=1, **OPTIONS)
    trainer = hugging_face(tmp_path / "steps", steps, num_train_epochs=1, bf16=True)
    trainer.train()
    assert steps.sparsifier.epoch == 3
    assert_sparse(steps.sparsifier, trainer.optimizer)

    best = mest.loops.trainer_callback(**OPTIONS)
    options = {"load_best_model_at_end": True, "eval_strategy": "epoch", "metric_for_best_model": "loss"}
    trainer = hugging_face(tmp_path / "best", best, greater_is_better=True, **options)  # the worst: an early one
    trainer.train()
    assert "checkpoint-16" not in str(trainer.state.best_model_checkpoint)
    assert best.sparsifier.zeros_kept
    assert best.sparsifier.at_target
    with pytest.raises(InputError, match="epochs=9, and the Trainer runs 4; leave epochs out"):
        hugging_face(tmp_path / "length", mest.loops.trainer_callback(epochs=9, **OPTIONS)).train()


@needs("lightning")
@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """From its own checkpoints, with accumulation and clipping; a checkpoint without masks is refused."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Net()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return self.inner(*batch)["loss"]

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), 8)

    def trainer(callbacks: list[Any], epochs: int = EPOCHS, **options: Any) -> lightning.Trainer:
        return lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=callbacks,
            default_root_dir=tmp_path,
            accumulate_grad_batches=2,
            gradient_clip_val=0.5,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )

    every = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    sparse, module = mest.loops.lightning_callback(**OPTIONS), Module()
    whole = trainer([sparse, every])
    whole.fit(module, loader)
    assert_sparse(sparse.sparsifier, whole.optimizers[0])
    assert sparse.sparsifier.finished
    assert float(whole.callback_metrics["weight_sparsity"]) == pytest.approx(sparse.sparsifier.sparsity)

    again, resumed = mest.loops.lightning_callback(**OPTIONS), Module()
    trainer([again, every]).fit(resumed, loader, ckpt_path=str(tmp_path / "epoch=1.ckpt"))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in resumed.state_dict().items())

    trainer([plain := lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, "dense")], 1).fit(Module(), loader)
    with pytest.raises(InputError, match="saved without this callback, so it holds no masks"):
        trainer([mest.loops.lightning_callback(**OPTIONS)]).fit(Module(), loader, ckpt_path=plain.best_model_path)

    steps = mest.loops.lightning_callback(steps_per_epoch=2, **OPTIONS)
    trainer([steps], 2).fit(Module(), loader)
    assert steps.sparsifier.epoch == 3
    assert steps.sparsifier.at_target


@needs("accelerate")
def test_accelerate_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """A registered sparsifier is in what save_state writes, and load_state puts it back."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # a Trainer in the same process chose another precision

    def begin() -> tuple[Any, ...]:
        accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
        model = Net()
        model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 0.01))
        sparsifier = sparsify(model, optimizer, epochs=EPOCHS, **OPTIONS)
        accelerator.register_for_checkpointing(sparsifier)
        return accelerator, model, optimizer, sparsifier

    def go_on(accelerator: Any, model: Any, optimizer: Any, sparsifier: Sparsifier, epochs: range) -> None:
        for epoch in epochs:
            sparsifier.start_epoch(epoch)
            for part in torch.arange(64).split(16):
                with accelerator.accumulate(model):
                    accelerator.backward(model(X[part], Y[part])["loss"])
                    accelerator.clip_grad_norm_(model.parameters(), 0.5)
                    optimizer.step()
                    optimizer.zero_grad()
        assert_sparse(sparsifier, optimizer.optimizer)

    run = begin()
    go_on(*run, range(2))
    run[0].save_state(str(tmp_path / "half"))
    go_on(*run, range(2, EPOCHS))
    other = begin()
    other[0].load_state(str(tmp_path / "half"))
    go_on(*other, range(2, EPOCHS))
    wanted = run[1].state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in other[1].state_dict().items())


@needs("timm")
def test_timm_resumes_to_the_same_weights(tmp_path: Path) -> None:
    """timm's saver and its resume know a model and an optimizer; the masks come back with the latter."""
    import timm
    from timm.models import load_checkpoint, resume_checkpoint
    from timm.optim import create_optimizer_v2
    from timm.utils import CheckpointSaver, ModelEmaV3, NativeScaler

    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8) % 4
    small = {"layers": (1, 1, 1, 1), "channels": (8, 16, 16, 32), "num_classes": 4}

    def begin(seed: int) -> tuple[Any, ...]:
        torch.manual_seed(seed)
        model = timm.create_model("resnet18", **small)
        optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
        sparsifier = sparsify(model, optimizer, epochs=EPOCHS, **OPTIONS).save_with(optimizer)
        average = ModelEmaV3(model, decay=0.9)
        sparsifier.attach_average(average)
        return model, optimizer, sparsifier, average

    def go_on(model: Any, optimizer: Any, sparsifier: Sparsifier, average: Any, epochs: range) -> None:
        scaler = NativeScaler(device="cpu")
        for epoch in epochs:
            sparsifier.start_epoch(epoch)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
            average.update(model)
            for name, mask in sparsifier.masks.items():
                assert not average.module.get_parameter(name)[~mask].any()
        assert_sparse(sparsifier, optimizer)

    run = begin(0)
    go_on(*run, range(2))
    CheckpointSaver(run[0], run[1], model_ema=run[3], checkpoint_dir=str(tmp_path)).save_checkpoint(1, metric=1.0)
    go_on(*run, range(2, EPOCHS))
    other = begin(1)
    assert resume_checkpoint(other[0], str(tmp_path / "last.pth.tar"), other[1], log_info=False) == 2
    with pytest.raises(InputError, match="not zero in the averaged model; load it from the same checkpoint"):
        go_on(*other, range(2, EPOCHS))
    load_checkpoint(other[3].module, str(tmp_path / "last.pth.tar"), use_ema=True)
    go_on(*other, range(2, EPOCHS))
    for whole, resumed in ((run[0], other[0]), (run[3], other[3])):
        wanted = whole.state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in resumed.state_dict().items())
