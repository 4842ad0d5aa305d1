"""The limit: forward, backward and step of ResNet-18 on one batch that stays in memory.

Precision, layout, allocator, kernels and optimizer are those of this project's training. Run by
bench.training: side, batch, steps, device, bf16 or fp32.
"""

import sys

from components.io import process


def main(size: int, batch: int, steps: int, device: str, precision: str) -> None:
    """Take so many steps; the loss is never looked at."""
    process.configure()
    process.choose_kernels(deterministic=True)
    import torch
    from torch.nn import functional

    from components.core.training.architectures import build_network

    network = build_network("resnet18", 2).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    images = torch.randn(batch, 3, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % 2
    network.train()
    for _ in range(steps):
        with torch.autocast(device, torch.bfloat16, precision == "bf16"):
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    _size, _batch, _steps = map(int, sys.argv[1:4])
    main(_size, _batch, _steps, device=sys.argv[4], precision=sys.argv[5])
