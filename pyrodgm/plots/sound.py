"""Pictures of sounds, and files that play them."""

import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors, whole_number
from pyrodgm.plots.style import BLUE, DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def waveforms(groups: Mapping[str, Tensor], rate: int, *, title: str | None = None) -> "Figure":
    """Sounds over time, a row for each group.

    Args:
        groups: Sounds ``[N, length]`` in [-1, 1] of each group, by its name; as many in each.
        rate: Samples per second.
        title: Text above.

    Raises:
        ValueError: If there is no group, or a shape or value does not fit; names the argument.

    Example:
        >>> len(waveforms({"noise": 0.1 * torch.randn(3, 100)}, 4000).axes)
        3
    """
    rate = _rate(groups, rate)

    def draw(axes: Any, sound: Tensor) -> None:
        axes.plot((torch.arange(len(sound)) * 1000.0 / rate).numpy(), sound.numpy(), color=BLUE, linewidth=0.5)
        axes.set_ylim(-1.05, 1.05)

    return _panels(groups, rate, title, draw)


def spectrograms(groups: Mapping[str, Tensor], rate: int, *, title: str | None = None) -> "Figure":
    """Short-time spectra of sounds in decibels below the loudest, frequency in kHz over time, a row for each group.

    Arguments and errors are those of :func:`waveforms`; sounds have at least 128 samples.

    Example:
        >>> len(spectrograms({"noise": 0.1 * torch.randn(2, 256)}, 4000).axes)
        2
    """
    rate = _rate(groups, rate)
    for name, sounds in groups.items():
        if sounds.dim() != 2 or sounds.shape[1] < 128:
            raise ValueError(f"groups[{name!r}] must be sounds [N, 128] or longer, got {list(sounds.shape)}")

    def draw(axes: Any, sound: Tensor) -> None:
        window = torch.hann_window(128, dtype=sound.dtype)
        power = torch.stft(sound, 128, 16, window=window, return_complex=True).abs().square()
        decibels = 10 * (power / power.max().clamp(min=1e-30)).clamp(min=1e-6).log10()
        extent = (0.0, len(sound) * 1000.0 / rate, 0.0, rate / 2000.0)
        axes.imshow(decibels.numpy(), origin="lower", aspect="auto", extent=extent, cmap="cividis", vmin=-60, vmax=0)

    return _panels(groups, rate, title, draw)


def write_wav(path: Path, sounds: Tensor, rate: int, *, pause: float = 0.1) -> None:
    """Write sounds one after another as a WAV file of 16 bits.

    Args:
        path: The file.
        sounds: ``[N, length]`` in [-1, 1]; what lies outside is cut off.
        rate: Samples per second.
        pause: Seconds of silence after each.

    Raises:
        ValueError: If ``sounds`` has another shape or is not finite.
    """
    _check("sounds", sounds)
    silence = sounds.new_zeros(len(sounds), round(pause * rate))
    values = (torch.cat([sounds.clamp(-1.0, 1.0), silence], 1).flatten().cpu().double() * 32767).round().short()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.numpy().astype("<i2").tobytes())


def _rate(groups: Mapping[str, Tensor], rate: int) -> int:
    if not isinstance(groups, Mapping):
        raise TypeError(f"groups must be sounds by name, got {groups!r}")
    tensors(**{f"groups[{name!r}]": sounds for name, sounds in groups.items()})
    return whole_number("rate", rate)


def _check(name: str, sounds: Tensor) -> None:
    if sounds.dim() != 2 or not sounds.numel() or not sounds.isfinite().all():
        raise ValueError(f"{name} must be finite sounds [N, length], got {list(sounds.shape)}")


def _panels(
    groups: Mapping[str, Tensor], rate: int, title: str | None, draw: Callable[[Any, Tensor], None]
) -> "Figure":
    from pyrodgm.plots.drawing import Drawing

    rate = _rate(groups, rate)
    if not groups:
        raise ValueError("groups must hold sounds, got no groups")
    for name, sounds in groups.items():
        _check(f"groups[{name!r}]", sounds)
        if len(sounds) != len(next(iter(groups.values()))):
            raise ValueError(f"groups[{name!r}] must have as many sounds as the first group, got {len(sounds)}")
    columns = len(next(iter(groups.values())))
    size = (1.6 * columns + 1.0, 1.1 * len(groups) + 0.6)
    figure = Drawing(figsize=size, dpi=DPI, layout="constrained")
    panels = figure.subplots(len(groups), columns, squeeze=False, sharex=True, sharey=True)
    for row, (name, sounds) in zip(panels, groups.items(), strict=True):
        for axes, sound in zip(row, sounds.detach().cpu(), strict=True):
            draw(axes, sound)
            axes.tick_params(labelsize=7)
        row[0].set_ylabel(name, fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("ms", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
