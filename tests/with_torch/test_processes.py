"""Two processes that train one model (gloo): links, weights and optimizer state stay equal, bit for bit."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rewire.torch import Rewirer, SparseLinear, sparsify

RANKS = 2


def model():
    return nn.Sequential(SparseLinear(12, 16, density=0.4), nn.ReLU(), SparseLinear(16, 8, density=0.4))


def trained(wrapped, optimizer, rewirer, rank, steps=4):
    g = torch.Generator().manual_seed(10 + rank)  # each rank has samples of its own, and as many as it likes
    records = 0
    for _ in range(steps):
        x = torch.randn(3 + rank, 12, generator=g)
        optimizer.zero_grad()
        (wrapped(x) - 1.0).square().mean().backward()
        optimizer.step()
        records += rewirer.step() is not None
    return records


def in_one_process(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    found = {}
    for rule, options in (("set", {}), ("rigl", {}), ("deepr", {"noise": 30.0}), ("top-kast", {})):
        torch.manual_seed(rank)  # the wrapper makes them equal, links included
        wrapped = DistributedDataParallel(model())
        optimizer = torch.optim.AdamW(wrapped.parameters(), lr=0.01)
        rewirer = Rewirer(wrapped, optimizer, rule, every=2, total_steps=9, **options)
        first = wrapped.module[0].sources.clone()
        assert trained(wrapped, optimizer, rewirer, rank) >= 2
        assert not torch.equal(first, wrapped.module[0].sources), rule
        states = [optimizer.state[m.weight]["exp_avg"] for m in wrapped.module if isinstance(m, SparseLinear)]
        found[rule] = [wrapped.module.state_dict(), states]

    torch.manual_seed(rank)
    wrapped = DistributedDataParallel(model())
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01, momentum=0.9)
    rewirer = Rewirer(wrapped, optimizer, "snfs", every=1, total_steps=9)
    before = wrapped.module[0].to_dense().detach()
    with pytest.raises(NotImplementedError, match="give Rewirer the inner module with process_group="):
        trained(wrapped, optimizer, rewirer, rank, 1)
    assert ((wrapped.module[0].to_dense() != 0) == (before != 0)).all()

    torch.manual_seed(rank)
    ragged = DistributedDataParallel(nn.Sequential(SparseLinear(12, 10, density=0.4)))
    sgd = torch.optim.SGD(ragged.parameters(), lr=0.01)
    with pytest.raises(NotImplementedError, match="where 10 outputs are no multiple of group=4"):
        trained(ragged, sgd, Rewirer(ragged, sgd, "set", every=1, fraction=0.5), rank, 4)

    with pytest.raises(ValueError, match="0: in DistributedDataParallel, .*: sparsify first, then wrap"):
        sparsify(DistributedDataParallel(nn.Sequential(nn.Linear(12, 8))))

    late = DistributedDataParallel(nn.Sequential(nn.Linear(12, 8)))
    sparsify(late.module)
    with pytest.raises(ValueError, match="in which 0 was replaced since it was wrapped: wrap the model"):
        Rewirer(late, torch.optim.SGD(late.parameters(), lr=0.01), "set", every=1)

    inner = wrapped.module  # as the message says
    rewirer = Rewirer(inner, optimizer, "snfs", every=1, total_steps=9, process_group=dist.group.WORLD)
    sizes = [len(inner[0].weight)]
    for step in range(4):
        wrapped = DistributedDataParallel(inner)
        trained(wrapped, optimizer, rewirer, 10 * step + rank, 1)
        sizes.append(len(inner[0].weight))
    assert len({*sizes}) > 1
    found["snfs"] = [inner.state_dict()]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def equal(a, b):
    if torch.is_tensor(a):
        return torch.equal(a, b)
    pairs = zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else zip(a, b, strict=True)
    return len(a) == len(b) and all(equal(x, y) for x, y in pairs)


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="PyTorch without gloo")
def test_two_processes_end_with_equal_bits(tmp_path):
    torch.multiprocessing.spawn(in_one_process, args=(str(tmp_path),), nprocs=RANKS)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS))
    for rule in one:
        assert equal(one[rule], two[rule]), rule
