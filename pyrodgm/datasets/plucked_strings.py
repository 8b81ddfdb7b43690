"""Sounds of plucked strings, made by a physical model."""

import math
import os

import torch
from torch import Tensor

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.split import Split

RATE = 4000  # samples a second
LENGTH = 512  # samples of a sound, 128 ms
LOWEST, PITCHES = 110.0, 25  # semitones from A2 to A4
PICKUP = 0.2  # where along the string it is heard
NOISE = 0.01  # of the recording, beside sounds in [-1, 1]
SIZES, SEED = (8000, 1000, 1000), 0


def plucked_string(
    frequency: Tensor,
    position: Tensor,
    stiffness: Tensor,
    damping: Tensor,
    *,
    length: int = LENGTH,
    rate: int = RATE,
) -> Tensor:
    r"""The velocity of a stiff, damped string at a pickup after it was plucked.

    .. math:: v(t) = \sum_{n \ge 1} \frac{\sin(n \pi p) \sin(n \pi q)}{n}\, e^{-\sigma_n t} \sin(2 \pi f_n t), \qquad
        f_n = n f \sqrt{1 + B n^2}, \qquad \sigma_n = \sigma (1 + (f_n / 500\,\mathrm{Hz})^2)

    over the partials below half of the rate; q is 0.2.

    Args:
        frequency: f of each string in Hz, ``[N]``, positive.
        position: p, where it is plucked as a share of its length, ``[N]`` in (0, 1).
        stiffness: B, how far partials are from multiples of f, ``[N]``, from 0.
        damping: :math:`\sigma`, per second, ``[N]``, from 0.
        length: Samples of each sound.
        rate: Samples per second.

    Returns:
        ``[N, length]``, scaled to a largest absolute value of 1.

    Source: Fletcher and Rossing (1998), The Physics of Musical Instruments, 2nd ed., chapter 2.

    Example:
        >>> one = torch.ones(1)
        >>> plucked_string(110 * one, 0.3 * one, 1e-4 * one, 5 * one).shape
        torch.Size([1, 512])
    """
    time = torch.arange(length, dtype=frequency.dtype, device=frequency.device) / rate
    sound = frequency.new_zeros(len(frequency), length)
    for n in range(1, math.ceil(rate / 2 / float(frequency.min()))):
        partial = n * frequency * (1 + stiffness * n**2).sqrt()
        amplitude = (n * math.pi * position).sin() * math.sin(n * math.pi * PICKUP) / n
        amplitude = torch.where(partial < rate / 2, amplitude, 0.0)
        decay = damping * (1 + (partial / 500.0).square())
        wave = (-decay.unsqueeze(1) * time).exp() * (2 * math.pi * partial.unsqueeze(1) * time).sin()
        sound += amplitude.unsqueeze(1) * wave
    return sound / sound.abs().amax(1, keepdim=True)


def load_plucked_strings(root: str | os.PathLike[str] | None = None) -> Dataset:
    """10,000 sounds from the moment of the pluck on, 128 ms at 4 kHz (`root` is not used).

    Pitches are the semitones from A2 to A4, each a few cents off; place of the pluck, stiffness, damping and loudness
    are random. Values are (1 + sound) / 2, so that silence is 0.5, and have Gaussian noise of standard deviation 0.005:
    no model of them can have more than -512 (log 0.005 + log(2 pi e) / 2) = 1,986 nats a sound on average.
    """
    generator, count = torch.Generator("cpu").manual_seed(SEED), sum(SIZES)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64, device="cpu")

    pitch = torch.randint(PITCHES, (count,), generator=generator, device="cpu")
    cents = 5.0 * torch.randn(count, generator=generator, dtype=torch.float64, device="cpu")
    frequency = LOWEST * 2.0 ** ((pitch + cents / 100) / 12)
    position, stiffness, damping = uniform(0.1, 0.5), 10 ** uniform(-5, -3), 10 ** uniform(0.3, 1.3)
    sounds = uniform(0.5, 0.95).unsqueeze(1) * plucked_string(frequency, position, stiffness, damping)
    sounds += NOISE * torch.randn(sounds.shape, generator=generator, dtype=torch.float64, device="cpu")
    values = ((1 + sounds.clamp(-1.0, 1.0)) / 2).float()
    parts = (Split(x, y) for x, y in zip(values.split(SIZES), pitch.split(SIZES), strict=True))
    return Dataset.from_tensors(*parts, image_shape=(1, 1, LENGTH), name="plucked_strings")
