"""Pictures of sounds and WAV files."""

import math
import wave

import numpy as np
import pytest
import torch

from pyrodgm import plots


def tone(frequency, length=512, rate=4000):
    return (2 * math.pi * frequency * torch.arange(length) / rate).sin().unsqueeze(0)


def test_a_wav_file_has_the_samples_and_the_pauses(tmp_path):
    sounds = torch.tensor([[0.0, 0.5, -1.0], [2.0, -2.0, 0.25]])
    plots.write_wav(tmp_path / "two.wav", sounds, 10, pause=0.2)
    with wave.open(str(tmp_path / "two.wav")) as file:
        assert file.getparams()[:4] == (1, 2, 10, 10)
        values = np.frombuffer(file.readframes(10), "<i2")
    assert values.tolist() == [0, 16384, -32767, 0, 0, 32767, -32767, 8192, 0, 0]


def test_a_spectrogram_is_brightest_at_the_frequency():
    axes = plots.spectrograms({"low": tone(500.0), "high": tone(1500.0)}, 4000, title="tones").axes
    for panel, khz in zip(axes, (0.5, 1.5), strict=True):
        picture = np.asarray(panel.images[0].get_array())
        assert picture.mean(1).argmax() / (len(picture) - 1) * 2.0 == pytest.approx(khz, abs=0.02)


def test_waveforms_are_drawn_in_milliseconds():
    panel = plots.waveforms({"tone": tone(500.0, 41)}, 4000).axes[0]
    assert panel.lines[0].get_xdata()[-1] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.waveforms({}, 4000), "groups must hold sounds"),
        (lambda: plots.waveforms({"a": tone(500.0)}, 0), "rate must be at least 1, got 0"),
        (lambda: plots.waveforms({"a": tone(500.0), "b": tone(5.0).expand(2, -1)}, 4000), "groups\\['b'\\]"),
        (lambda: plots.waveforms({"a": tone(500.0) * math.nan}, 4000), "groups\\['a'\\] must be finite"),
        (lambda: plots.spectrograms({"a": tone(500.0, 100)}, 4000), "128"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_wav_file_of_no_sounds_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sounds must be finite"):
        plots.write_wav(tmp_path / "none.wav", torch.zeros(0, 5), 4000)
    assert not list(tmp_path.iterdir())
