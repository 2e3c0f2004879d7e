"""Data-parallel training with PyTorch: every process holds the whole model, rank 0 takes its state and saves it.

Two processes train with DistributedDataParallel over gloo; a third, which knows nothing of them, reads the file.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import statetree as st

PROCESSES, STEPS = 2, 5


def build() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def train(rank: int, rendezvous: str, path: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=PROCESSES)
    model, optimizer = build()
    parallel = DistributedDataParallel(model)
    data = torch.Generator().manual_seed(rank)
    for _ in range(STEPS):
        x = torch.randn(32, 8, generator=data)
        optimizer.zero_grad()
        nn.functional.mse_loss(parallel(x), x.sum(1, keepdim=True)).backward()
        optimizer.step()
    if rank == 0:
        # The wrapper is looked through: names in the file are those of the model itself.
        st.save(path, st.state({"model": parallel, "optimizer": optimizer, "step": STEPS}))
    dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="checkpoint.h5", help="where in a temporary folder the state goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / options.file)
        mp.spawn(train, args=(f"{folder}/rendezvous", path), nprocs=PROCESSES)
        model, optimizer = build()
        restored = st.restore({"model": model, "optimizer": optimizer, "step": 0}, st.load(path))
        same = st.difference(st.state(restored), st.load(path)) is None
        print(
            f"saved by rank 0 of {PROCESSES} after {restored['step']} steps, restored in one process: identical {same}"
        )
        assert same


if __name__ == "__main__":
    main()
