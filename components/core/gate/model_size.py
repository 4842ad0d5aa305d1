"""What a model will weigh, known before it exists and without torch."""

# Bytes of torchvision's state dict without the last linear layer, and that layer's inputs.
_BACKBONES: dict[str, tuple[int, int]] = {
    "resnet18": (44_744_608, 512),
    "resnet34": (85_207_072, 512),
    "resnet50": (94_245_032, 2_048),
    "resnet101": (170_422_848, 2_048),
    "resnet152": (233_182_168, 2_048),
    "mobilenet_v3_small": (6_120_144, 1_024),
    "vit_b_16": (343_194_624, 768),
}


def weights_megabytes(architecture: str, num_classes: int) -> float:
    """The tensors of a model, 10^6 bytes; its file is a little larger."""
    backbone, inputs = _BACKBONES[architecture]
    return (backbone + 4 * num_classes * (inputs + 1)) / 1e6
