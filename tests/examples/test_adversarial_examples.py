"""The adversarial examples run with tiny sizes, resume, and are evaluated again from their folders."""

import json
import math

import pytest

pytestmark = pytest.mark.usefixtures("as_a_script")

TINY = "--data digits --latent 2 --hidden 4 --epochs 1 --num-samples 30 --num-images 4 --batch-size 300"
COMMANDS = {
    "gan.py --game hinge --critic-steps 2 --noise 0.3": "noise 0.3",
    "vae_gan.py --prior sticks --no-figures": "log p(x) = ",
    "adversarial_autoencoder.py --prior vampprior --components 3 --encoder noisy --no-figures": "draws alone",
    "adversarial_autoencoder.py --prior mixture --components 3 --no-figures": "log p(x) = ",
    "adversarial_variational_bayes.py --contrast 3 --no-figures": "log p(x) = ",
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split(" --no")[0])
def test_commands(command, launch, tmp_path):
    text = launch(f"{command} {TINY} --run {tmp_path}")
    values = json.loads((tmp_path / "results.json").read_text())
    assert COMMANDS[command] in text
    assert f"precision {values['precision']:.3f}, recall {values['recall']:.3f}" in text
    assert 0 <= values["accuracy"] <= 1
    if values["log_likelihood"] is not None:
        assert math.isfinite(values["log_likelihood"])
        assert f"{values['log_likelihood']:.2f} ± {values['standard_error']:.2f} nats" in text
    assert (tmp_path / "figures" / "samples.png").exists() == ("--no-figures" not in command)


def test_a_run_goes_on_and_is_evaluated_again(launch, tmp_path):
    launch(f"gan.py {TINY} --run {tmp_path} --no-figures")
    launch(f"gan.py {TINY} --run {tmp_path} --no-figures --epochs 2 --resume")
    before = json.loads((tmp_path / "results.json").read_text())
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 3
    text = launch(f"evaluate.py {tmp_path} --no-figures")
    after = json.loads((tmp_path / "results.json").read_text())
    assert after == before
    assert "nearest-neighbour accuracy" in text
