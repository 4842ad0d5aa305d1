"""The best peer: timm's loader, network, optimizer and checkpoints, as its train.py has them.

bf16 and channels_last are on where the machine has bf16, other switches at their defaults, but
for what makes the work equal. The package does not carry train.py; bench.training runs the script
itself when it is told where it is. Run in timm's own environment: FOLDER (with train and val),
side, batch, epochs, bf16 or fp32.
"""

import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm import data, loss, optim, scheduler, utils


def loader(folder: Path, split: str, size: int, batch: int) -> Any:
    """Images of a split: two workers, normalized in the main process; training ones augmented."""
    training = split == "train"
    options: dict[str, Any] = {"scale": (0.7, 1.0), "color_jitter": 0.1} if training else {}
    return data.create_loader(
        data.create_dataset("", root=str(folder), split=split, is_training=training),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=training,
        interpolation="random" if training else "bicubic",
        num_workers=2,
        device=torch.device("cpu"),
        **options,
    )


def main(folder: Path, size: int, batch: int, epochs: int, precision: str) -> None:
    """Train, score the val split after each epoch, save a checkpoint."""
    utils.random_seed(42, 0)
    network = timm.create_model("resnet18", num_classes=2)
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    network.to(memory_format=layout)
    optimizer = optim.create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=0.05)
    train, val = (loader(folder, split, size, batch) for split in ("train", "val"))
    schedule = scheduler.CosineLRScheduler(optimizer, t_initial=epochs)
    train_loss = loss.LabelSmoothingCrossEntropy(0.1)
    saver = utils.CheckpointSaver(network, optimizer, checkpoint_dir=".", recovery_dir=".")
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    for epoch in range(epochs):
        mean = utils.AverageMeter()
        network.train()
        for images, labels in train:
            with autocast:
                value = train_loss(network(images.contiguous(memory_format=layout)), labels)
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            mean.update(value.item(), len(images))
        accuracy = utils.AverageMeter()
        network.eval()
        with torch.inference_mode():
            for images, labels in val:
                with autocast:
                    output = network(images.contiguous(memory_format=layout))
                (top,) = utils.accuracy(output, labels, topk=(1,))
                accuracy.update(top.item(), len(images))
        schedule.step(epoch + 1, accuracy.avg)
        saver.save_checkpoint(epoch, metric=accuracy.avg)
        print(f"epoch {epoch}: loss {mean.avg:.3f}, val accuracy {accuracy.avg:.1f}", flush=True)


if __name__ == "__main__":
    _size, _batch, _epochs = map(int, sys.argv[2:5])
    main(Path(sys.argv[1]), _size, _batch, _epochs, sys.argv[5])
