"""What a training program puts around model and optimizer: the weights themselves are looked at after each of it."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import export
from mest import Sparsifier, sparsify
from mest.errors import DamagedError, InputError
from mest.sparse import select_targets

X = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (64,), generator=torch.Generator().manual_seed(1))
OPTIONS: dict[str, Any] = {"scheme": "irregular", "sparsity": 0.8, "epochs": 8, "update_every_epochs": 2}


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def learn(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(X), Y)
    loss.backward()
    optimizer.step()
    return loss.detach()


def assert_sparse(sparsifier: Sparsifier, optimizer: torch.optim.Optimizer, at_target: bool = True) -> None:
    """Removed weights, their gradients and their optimizer state are zero, and there are as many as there should be."""
    for layer in sparsifier.layers():
        weight, mask = sparsifier.model.get_parameter(layer.name), sparsifier.masks[layer.name]
        state = [value for value in optimizer.state[weight].values() if value.shape == mask.shape]
        for tensor in [weight, *state] + ([] if weight.grad is None else [weight.grad]):
            assert not tensor.detach()[~mask].any()
        if at_target:
            assert int(weight.count_nonzero()) <= layer.kept_weights == round(0.2 * layer.weights - 0.5)


@pytest.mark.parametrize("method", ["em", "rigl"])
def test_a_compiled_model_never_sees_masks_of_before(method: str) -> None:
    """Masks are outside of the graph, so that a mutation compiles nothing anew and no graph holds an old mask."""
    torch.compiler.reset()
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    sparsifier = sparsify(model, optimizer, method=method, **OPTIONS)
    compiled = torch.compile(model, backend=backend)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        learn(compiled, optimizer)
        assert_sparse(sparsifier, optimizer)
        assert torch.equal(compiled(X), model(X))
    assert len(graphs) == 1
    again = sparsify(compiled, optimizer, method="em", **OPTIONS)  # wrapped before it is made sparse
    assert again.model is model
    again.detach()


def test_a_compiled_optimizer_step_is_upheld() -> None:
    """Its hooks run around the compiled step."""
    torch.compiler.reset()
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    optimizer.step = torch.compile(optimizer.step, backend="eager")  # type: ignore[method-assign]
    for epoch in range(4):
        sparsifier.start_epoch(epoch)
        learn(model, optimizer)
        assert_sparse(sparsifier, optimizer)


def test_autocast_computes_with_the_mutated_weights() -> None:
    """An autocast region keeps casts of weights until it ends; those of before a mutation would be read on."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        for epoch in range(4):
            sparsifier.start_epoch(epoch)
            model(X)
            learn(model, optimizer)
            model(X)
            if mutation := sparsifier.start_epoch(epoch + 1):
                assert mutation.layers
                within = model(X)
                with torch.autocast("cpu", enabled=False), torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
                    assert torch.equal(within, model(X))
            assert_sparse(sparsifier, optimizer)


def test_a_scaled_accumulated_and_clipped_step_is_that_of_the_kept_weights() -> None:
    """Against a referee whose removed weights are constants: the same weights after every step, overflow among them."""
    model = net()
    sparsifier = sparsify(model, torch.optim.SGD(model.parameters(), 0.1), method="em", **OPTIONS)
    sparsifier.detach()
    referee = copy.deepcopy(model)
    for name, mask in sparsifier.masks.items():
        referee.get_parameter(name).register_hook(lambda gradient, mask=mask: gradient * mask)
    optimizers = [torch.optim.AdamW(each.parameters(), 0.01, weight_decay=0.1) for each in (model, referee)]
    sparsifier.attach(optimizers[0])
    scalers = [torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2) for _ in range(2)]
    for step in range(6):
        for each, optimizer, scaler in zip((model, referee), optimizers, scalers, strict=True):
            optimizer.zero_grad()
            for part in (slice(0, 32), slice(32, 64)):
                factor = float("inf") if step == 3 else 0.5
                with torch.autocast("cpu", torch.bfloat16):
                    loss = nn.functional.cross_entropy(each(X[part]), Y[part]) * factor
                scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(each.parameters(), 0.05)
            scaler.step(optimizer)
            scaler.update()
        for name, weight in model.named_parameters():
            assert torch.equal(weight, referee.get_parameter(name))
    assert scalers[0].get_scale() == scalers[1].get_scale()
    optimizers[0].zero_grad()
    assert_sparse(sparsifier, optimizers[0])


def test_an_average_is_as_sparse_as_its_model(tmp_path: Path) -> None:
    """At target after every mutation, with nothing but the kept weights' averages, and it goes to the board."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    loose = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    sparsifier.attach_average(average)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        learn(model, optimizer)
        average.update_parameters(model)
        loose.update_parameters(model)
        for name, mask in sparsifier.masks.items():
            assert not average.module.get_parameter(name)[~mask].any()
            assert average.module.get_parameter(name)[mask].any()
    sparsifier.finish()
    how = {"example_input": (16,), "preprocess": {"mean": 0.0, "std": 1.0}}
    manifest = export.export_model(average, tmp_path / "average", sparsifier=sparsifier, **how)
    assert manifest is not None
    with pytest.raises(InputError, match=r"another model than this one; .* attach_average"):
        export.export_model(loose, tmp_path / "loose", sparsifier=sparsifier, **how)
    # Weights of another moment are seen at the next epoch.
    with torch.no_grad():
        average.module[0].weight.fill_(1)
    with pytest.raises(InputError, match="removed weights are not zero in the averaged model"):
        sparsifier.start_epoch(7)
    sparsifier.attach_average(average)
    assert not average.module[0].weight[~sparsifier.masks["0.weight"]].any()
    with pytest.raises(InputError, match="no copy of this model"):
        sparsifier.attach_average(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(InputError, match="the model itself"):
        sparsifier.attach_average(model)


def run(
    model: nn.Module, optimizer: torch.optim.Optimizer, sparsifier: Sparsifier, epochs: range
) -> dict[str, torch.Tensor]:
    for epoch in epochs:
        sparsifier.start_epoch(epoch)
        learn(model, optimizer)
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ["em", "rigl"])
def test_a_run_goes_on_from_a_checkpoint_of_model_and_optimizer_alone(method: str) -> None:
    """`save_with` puts masks, position and generator into the optimizer's part; `state` takes them where they are
    known before the sparsifier is made. Both end with the weights of the run that was never stopped."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    sparsifier = sparsify(model, optimizer, method=method, **OPTIONS).save_with(optimizer)
    run(model, optimizer, sparsifier, range(3))
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), sparsifier.state_dict()], file)
    wanted = run(model, optimizer, sparsifier, range(3, 8))

    def stored() -> list[Any]:
        file.seek(0)
        return torch.load(file, weights_only=True)  # noqa: TID251

    one = net(1)
    its_optimizer = torch.optim.AdamW(one.parameters(), 0.01)
    again = sparsify(one, its_optimizer, method=method, **OPTIONS).save_with(its_optimizer)
    one.load_state_dict(stored()[0])
    its_optimizer.load_state_dict(stored()[1])
    found = run(one, its_optimizer, again, range(3, 8))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)

    other = net(2)
    other.load_state_dict(stored()[0])
    plain = torch.optim.AdamW(other.parameters(), 0.01)
    plain.load_state_dict(stored()[1])  # without save_with the key is not looked at
    resumed = sparsify(other, plain, method=method, state=stored()[2], **OPTIONS)
    found = run(other, plain, resumed, range(3, 8))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_state_that_does_not_belong_to_the_weights_changes_nothing() -> None:
    """Neither does an optimizer's checkpoint without a sparsifier pass for one."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS).save_with(optimizer)
    state = sparsifier.state_dict()
    fresh = net(1)
    before = copy.deepcopy(fresh.state_dict())
    with pytest.raises(InputError, match="removed weights are not zero"):
        sparsify(fresh, torch.optim.SGD(fresh.parameters(), 0.1), method="em", state=state, **OPTIONS)
    with pytest.raises(InputError, match="of another run: schedule was"):
        sparsify(model, optimizer, method="ems", state=state, **OPTIONS)
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())
    with pytest.raises(DamagedError, match="holds no sparsifier"):
        optimizer.load_state_dict(torch.optim.SGD(net(1).parameters(), 0.1).state_dict())
    twin, its_optimizer, its_sparsifier = copy.deepcopy((model, optimizer, sparsifier))
    its_sparsifier.start_epoch(0)
    assert "mest_sparsifier" in its_optimizer.state_dict()
    assert its_sparsifier.model is twin


class Tied(nn.Module):
    """Two layers with one weight, an embedding that the head shares, and a normalised layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))
        self.out = nn.Linear(16, 12)
        self.out.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores `(n, 12)` of the next token after tokens `(n,)`."""
        hidden = self.second(self.first(self.embed(tokens)).relu()).relu()
        return self.out(self.spectral(self.normed(hidden)))


def test_tied_and_parametrized_weights_are_held_once_or_named() -> None:
    """A weight of two layers has one mask; what is computed or shared with an embedding stays dense, with a reason."""
    torch.manual_seed(0)
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    sparsifier = sparsify(model, optimizer, method="em", **OPTIONS)
    assert list(sparsifier.masks) == ["first.weight"]
    assert "shared with embed.weight" in sparsifier.dense["out.weight"]
    assert "a part of a parametrized weight" in sparsifier.dense["normed.parametrizations.weight.original1"]
    tokens = torch.arange(12)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(tokens), tokens.roll(1)).backward()
        optimizer.step()
        assert_sparse(sparsifier, optimizer)
        assert model.second.weight is model.first.weight
    with pytest.raises(InputError, match="remove the parametrization to make the weight sparse"):
        select_targets(model, "irregular", profile={"prune_ratios": {"normed.weight": 0.9}})
    nn.utils.parametrizations.weight_norm(model.first)  # behind the sparsifier's back
    with pytest.raises(InputError, match="no longer the parameter that was made sparse"):
        sparsifier.start_epoch(6)


def test_a_model_with_auxiliary_outputs_mutates_with_them() -> None:
    """GoogLeNet's side classifiers give a gradient while it trains, and a layer that one step leaves out keeps its
    mask."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.googlenet(num_classes=4, aux_logits=True, init_weights=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    sparsifier = sparsify(model, optimizer, method="rigl", dense=["aux1.fc2", "aux2.fc2"], **OPTIONS)
    assert "aux1.fc1.weight" in sparsifier.masks
    assert sparsifier.dense["fc.weight"] == "the classifier"
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    mutation = None
    for epoch in range(3):
        mutation = sparsifier.start_epoch(epoch)
        optimizer.zero_grad()
        answer = model(images)
        loss = nn.functional.cross_entropy(answer.logits, labels)
        loss = loss + 0.3 * nn.functional.cross_entropy(answer.aux_logits1, labels)
        loss.backward()
        optimizer.step()
        assert_sparse(sparsifier, optimizer)
    assert mutation is not None
    assert "aux1.fc1.weight" in mutation.layers
    assert "aux2.fc1.weight" not in mutation.layers


def _sharded(rank: int, folder: str) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    device = {"device_id": torch.device("cpu")}
    wraps: list[Callable[[nn.Module], nn.Module]] = [
        lambda model: FullyShardedDataParallel(model, use_orig_params=True, **device),
        lambda model: FullyShardedDataParallel(model, **device),
        fully_shard,
    ]
    for wrap in wraps:
        model = wrap(net())
        with pytest.raises(InputError, match=r"sharded by FSDP, .* use DistributedDataParallel"):
            sparsify(model, torch.optim.SGD(model.parameters(), 0.1), method="em", **OPTIONS)
        late = net()
        sparsifier = sparsify(late, torch.optim.SGD(late.parameters(), 0.1), method="em", **OPTIONS)
        wrap(late)
        with pytest.raises(InputError, match=r"sharded by FSDP|no longer the parameter|another shape than its mask"):
            sparsifier.start_epoch(0)
    model = net()
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(wrapped.parameters(), 0.01)
    sparsifier = sparsify(wrapped, optimizer, method="em", **OPTIONS)
    average = AveragedModel(wrapped, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    sparsifier.attach_average(average)
    half = slice(32 * rank, 32 * rank + 32)
    for epoch in range(6):
        sparsifier.start_epoch(epoch)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(wrapped(X[half]), Y[half])
        loss.backward()
        nn.utils.clip_grad_norm_(wrapped.parameters(), 0.1)
        optimizer.step()
        average.update_parameters(wrapped)
        assert_sparse(sparsifier, optimizer)
        inside = average.module.module
        assert not any(bool(inside.get_parameter(name)[~mask].any()) for name, mask in sparsifier.masks.items())
    torch.save([model.state_dict(), inside.state_dict()], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo backend")
def test_two_processes_agree_and_sharded_models_are_refused(tmp_path: Path) -> None:
    """DDP with autocast, clipping and an average gives the same weights everywhere; FSDP of either kind is refused."""
    mp.spawn(_sharded, args=(str(tmp_path),), nprocs=2)
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]  # noqa: TID251
    for one, other in zip(*states, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
