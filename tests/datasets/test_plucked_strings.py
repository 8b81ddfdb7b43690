"""Plucked strings against the physics that they are made of."""

import math

import pytest
import torch

from pyrodgm import datasets
from pyrodgm.datasets.plucked_strings import LENGTH, NOISE, PITCHES, plucked_string


def pluck(frequency=200.0, position=0.3, stiffness=0.0, damping=0.0, **kwargs):
    values = (torch.tensor([float(v)]) for v in (frequency, position, stiffness, damping))
    return plucked_string(*values, **kwargs)[0]


def partials(sound, rate):
    """Frequencies in Hz of the peaks of the spectrum, strongest first, and their amplitudes."""
    spectrum = torch.fft.rfft(sound).abs()
    peaks = [k for k in range(1, len(spectrum) - 1) if spectrum[k] > max(spectrum[k - 1], spectrum[k + 1], 1.0)]
    peaks.sort(key=lambda k: -float(spectrum[k]))
    return [k * rate / len(sound) for k in peaks], [float(spectrum[k]) for k in peaks]


def test_an_ideal_string_has_the_partials_that_pluck_and_pickup_leave():
    found, amplitudes = partials(pluck(length=4000), 4000)  # one second: each partial has a bin of its own
    expected = {n * 200: abs(math.sin(0.3 * n * math.pi) * math.sin(0.2 * n * math.pi) / n) for n in range(1, 10)}
    expected = dict(sorted(((f, a) for f, a in expected.items() if a > 1e-6), key=lambda pair: -pair[1]))
    assert found == list(expected)
    ratio = [a / b for a, b in zip(amplitudes, expected.values(), strict=True)]
    assert ratio == pytest.approx([ratio[0]] * len(ratio), rel=1e-9)


def test_plucked_in_the_middle_it_has_odd_partials_alone():
    found, _ = partials(pluck(position=0.5, length=4000), 4000)
    assert sorted(found) == [200, 600, 1400, 1800]  # the pickup lies on a node of the fifth


def test_a_stiff_string_is_stretched_and_a_damped_one_decays():
    found, _ = partials(pluck(stiffness=1e-3, length=40_000), 4000)
    for n in (1, 2, 3):
        assert min(abs(f - n * 200 * math.sqrt(1 + 1e-3 * n**2)) for f in found) <= 0.1
    # A string at 100 Hz heard below 150 Hz has one partial, whose decay is that of the formula.
    sound = pluck(100.0, damping=5.0, length=4000, rate=300)
    log_peak = sound[:1500].unflatten(0, (5, 300)).abs().amax(1).log()  # seconds of 300 samples
    assert (log_peak[1:] - log_peak[:-1]).tolist() == pytest.approx([-5.0 * (1 + 0.2**2)] * 4, abs=1e-6)


@pytest.mark.slow
def test_the_data_are_these_with_noise():
    data = datasets.load("plucked_strings")
    assert [len(part) for part in (data.train, data.valid, data.test)] == [8000, 1000, 1000]
    assert (data.image_shape, data.values, data.num_bins) == ((1, 1, LENGTH), "grey", None)
    assert data.train.labels.bincount().shape == (PITCHES,)
    x = 2 * data.train.images - 1
    assert float(x.abs().amax()) <= 1.0
    assert float(x.abs().amax(1).min()) > 0.45
    assert float(x[:, 0].std()) == pytest.approx(NOISE, rel=0.05)  # a string starts at rest
    again = datasets.load("plucked_strings")
    torch.testing.assert_close(again.test.images, data.test.images, rtol=0, atol=0)
    assert not {tuple(row[:5].tolist()) for row in data.test.images} & {tuple(r[:5].tolist()) for r in x}
