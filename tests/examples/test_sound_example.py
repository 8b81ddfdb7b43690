"""The example of sounds writes pictures and files that play, and is evaluated again."""

import json
import wave

import pytest

TINY = "--latent 2 --hidden 4 --components 3 --epochs 1 --warmup 0 --batch-size 2000 --num-samples 200 --num-images 4"


@pytest.mark.slow
def test_sounds_are_written(launch, tmp_path):
    text = launch(f"sound_vae.py {TINY} --run {tmp_path}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert f"{results['log_likelihood']:.2f} ±" in text
    names = {"test", "reconstructed", "samples", "pseudo-inputs", "grown"}
    assert {file.stem for file in (tmp_path / "figures").glob("*.wav")} == names
    with wave.open(str(tmp_path / "figures" / "grown.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (4000, 6 * (512 + 400))
    assert {file.name for file in (tmp_path / "figures").glob("*.png")} == {"waveforms.png", "spectrograms.png"}
    assert f"{results['log_likelihood']:.2f} ±" in launch(f"evaluate.py {tmp_path} --no-figures")
