"""The example of sentences under each prior: perplexity, sentences, and the same again from the run folder."""

import json
import math

import pytest

TINY = (
    "sentence_vae.py --data toy_sentences --train-images 300 --latent 2 --hidden 4 --embedding 3 --components 3 "
    "--epochs 1 --warmup 0 --batch-size 100 --num-images 4 --num-samples 60"
)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["vampprior --cell gru --free-bits 1", "none --no-figures"])
def test_sentences_are_written(launch, tmp_path, prior):
    text = launch(f"{TINY} --run {tmp_path} --prior {prior}")
    results = json.loads((tmp_path / "results.json").read_text())
    assert f" {results['perplexity']:.2f} ± {results['perplexity_error']:.2f} " in text
    assert 1 < results["perplexity"] < 100
    assert results["active_units"].keys() == (set() if "none" in prior else {"z"})
    if "vampprior" not in prior:
        return
    blocks = (tmp_path / "figures" / "sentences.txt").read_text().split("\n\n")
    assert len(blocks) == 6
    assert [len(block.strip().splitlines()) for block in blocks] == [7, 7, 7, 7, 5, 5]
    assert {file.name for file in (tmp_path / "figures").glob("*.png")} == {"sentences.png", "training.png"}
    again = launch(f"evaluate.py {tmp_path} --no-figures")
    assert f" {results['perplexity']:.2f} ± " in again
    longer = launch(
        f"{TINY.replace('--epochs 1', '--epochs 2')} --run {tmp_path} --prior {prior} --resume --no-figures"
    )
    assert math.isfinite(json.loads((tmp_path / "results.json").read_text())["perplexity"])
    assert "perplexity" in longer
