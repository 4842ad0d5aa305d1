"""The script that most people write: fp32, ImageFolder, a DataLoader with workers, ResNet-18.

Run by bench.training: FOLDER (with train and val), side, batch, epochs.
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main(folder: Path, size: int, batch: int, epochs: int) -> None:
    """Train, look at the val split after each epoch, save the weights."""
    last = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    change = [
        transforms.RandomResizedCrop(size, scale=(0.7, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.1, 0.1),
    ]
    keep = [transforms.Resize(size), transforms.CenterCrop(size)]
    train = datasets.ImageFolder(str(folder / "train"), transforms.Compose([*change, *last]))
    val = datasets.ImageFolder(str(folder / "val"), transforms.Compose([*keep, *last]))
    train_loader = DataLoader(train, batch, shuffle=True, num_workers=2)
    val_loader = DataLoader(val, batch, num_workers=2)
    network = models.resnet18(num_classes=len(train.classes))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    loss_of = torch.nn.CrossEntropyLoss()
    for epoch in range(epochs):
        network.train()
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = loss_of(network(inputs), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        right = 0
        with torch.no_grad():
            for inputs, labels in val_loader:
                right += int((network(inputs).argmax(1) == labels).sum())
        print(f"epoch {epoch + 1}: val accuracy {right / len(val):.3f}", flush=True)
        torch.save(network.state_dict(), "plain.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
