"""Flags that all systems share which train on images."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pyrodgm.infer.tracing.contexts import MatmulPrecision
from pyrodgm.infer.training.step import Compile


@dataclass(frozen=True)
class TrainingConfig:
    """Flags of every system that trains on images; the ``Config`` of a system adds its own."""

    RENAMED: ClassVar[dict[str, str]] = {}
    """Names of today by the names that flags had before; both are read from command lines and run folders."""

    data: str = "static_mnist"
    """Data set, as pyrodgm.datasets.load calls it: digits (comes with scikit-learn), static_mnist, mnist, ..."""
    root: str | None = None
    """Folder of the data; by default $PYRODGM_DATA, or else a cache folder."""
    train_images: int | None = None
    """Number of training images, the first ones; None: all."""
    batch_size: int = 100
    """Images a step."""
    epochs: int = 100
    """Most passes over the training images."""
    warmup: float = 0.0
    """Epochs over which the weight of the KL term rises from 0 to 1."""
    patience: int | None = None
    """Epochs after the warm-up without a better validation bound before training stops; None: no early stopping."""
    valid_every: int = 1
    """Epochs from one validation to the next."""
    learning_rate: float = 1e-3
    """Learning rate."""
    num_samples: int | None = None
    """Decoder evaluations per test image; None: as many as the way of the estimate needs, 5000 at most."""
    num_images: int | None = None
    """Number of test images, evenly spread over the test set; None: all."""
    encoder_samples: int = 0
    """Draws of the encoder a test image for a second estimate, as published results were made; 0: none."""
    device: str = "cpu"
    """Where to train, as PyTorch calls it: cpu, cuda, cuda:1."""
    compile: Compile = "auto"
    """How a training step runs; auto: the fastest way that the length of the run pays for."""
    matmul: MatmulPrecision = "highest"
    """Precision of matrix products in training: medium lets processors that can do so multiply in bfloat16, high and
    medium let CUDA devices multiply in TF32. Evaluation always has the highest."""
    seed: int = 0
    """Seed of initialisation, training and evaluation."""
    num_seeds: int = 1
    """Number of models, with this seed and the next ones, trained together where they can be; each has a run folder."""
    run: str | None = None
    """Run folder; by default one below runs/ with the name of what is trained."""
    resume: bool = False
    """Go on with the run in that folder."""
    figures: bool = True
    """Write figures into the run folder."""

    @property
    def title(self) -> str:
        """Name of the row of a table and, with the seed, of the run folder."""
        return self.data

    @property
    def kl_warmup(self) -> float:
        """Epochs of warm-up."""
        return self.warmup

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run or f"runs/{self.title.replace(' ', '-')}-{self.seed}")
