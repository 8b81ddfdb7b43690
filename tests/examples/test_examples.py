"""Every example runs with tiny sizes, and what it prints and writes is looked at."""

import ast
import csv
import inspect
import json
import math
import re

import pytest
import torch
from example_runs import EXAMPLES, TINY, TINY_DVAE, printed, results
from fresh_process import run_python

from pyrodgm import cli, datasets, zoo

pytestmark = pytest.mark.usefixtures("as_a_script")

SHORT = "--data digits --train-images 200 --epochs 2 --warmup 1 --num-samples 30 --num-images 6"
STICKS = (
    "--data digits --train-images 200 --truncation 4 --hidden 4 --epochs 2 --warmup 1 --num-samples 30 --num-images 6"
)
ALL_STICKS = STICKS.replace("200", "1000")
MIXTURE = f"{SHORT} --components 5 --posterior-components 2 --latent 3 --hidden 4"
PLAIN_MIXTURE = f"{MIXTURE} --no-figures"
LATENT_MIXTURE = f"{SHORT} --components 3 --latent 2 --hidden 4 --learning-rate 1e-2"
DENSITY = f"{SHORT} --latent 2 --hidden 4 --particles 5"
LADDER = f"{SHORT} --batch-size 100 --latent 3 2 2 --hidden 5 4 3 --no-figures"
COUNTS = "--no-figures --batch-size 133 --latent 2 --hidden 4 --epochs 2 --warmup 1 --num-samples 30 --num-images 6"
IWAE = f"{SHORT} --batch-size 100 --latent 3 2 --hidden 4 3 --particles 3 --schedule-epochs 2"

# Examples with results of their own kind have their tests in test_sequence_examples.py, test_adversarial_examples.py.
ADVERSARIAL = {"gan.py", "vae_gan.py", "adversarial_autoencoder.py", "adversarial_variational_bayes.py"}
SEQUENCES = {"adaptive_language_model.py", "parity.py", "stick_breaking_nade.py"}
ELSEWHERE = {"demo.py", "sentence_vae.py", "sound_vae.py", *ADVERSARIAL, *SEQUENCES}
PARTLY = (
    "--data digits --train-images 400 --label-fraction 0.05 --truncation 3 --hidden 4 --epochs 2 --num-samples 30 "
    "--num-images 6 --batch-size 95"
)
PLAIN_PARTLY = f"{PARTLY} --no-figures"

# The command lines that are run. RUN is a fresh folder; one that begins with & goes on where the one before ended.
# Batches mostly divide the data, since each further size of batch is traced anew.
COMMANDS = [
    f"vampprior.py {TINY} --run RUN --no-figures",
    "&evaluate.py RUN",
    "&evaluate.py RUN --num-samples 40 --num-images 10 --seed 3 --device cpu --no-figures",
    f"&vampprior.py {TINY} --run RUN --epochs 3 --resume --num-images 7 --no-figures",
    f"vampprior.py {TINY} --run RUN --prior standard --optimizer adam --learning-rate 1e-3 --patience 1 --no-figures",
    "&evaluate.py RUN --no-figures",
    f"vampprior.py {TINY} --run RUN --prior mixture --batch-size 300 --patience None --seed 1 --no-figures",
    "&evaluate.py RUN --no-figures",
    f"vampprior.py {TINY} --run RUN --prior vampprior-data --hidden 4 3 --no-figures",
    "&evaluate.py RUN --no-figures",
    f"vampprior.py {TINY} --run RUN --model hvae --prior vampprior --train-images 100",
    "&evaluate.py RUN --no-figures",
    "&compare.py RUN",
    f"vampprior.py {TINY} --run RUN --model vae --prior exemplar --neighbours 3 --train-images 100 --no-figures",
    "&evaluate.py RUN --no-figures",
    f"vampprior.py {TINY} --run RUN --model convhvae --channels 1 --train-images 100 --no-figures",
    f"vampprior.py {TINY} --run RUN --model pixelhvae --channels 1 --train-images 100 --num-samples 3 --no-figures",
    f"vampprior.py {TINY} --run RUN --pseudo-inputs images --pseudo-std 0.1 --no-figures",
    f"vampprior.py {TINY} --run RUN --objective iwelbo --particles 3 --no-figures",
    f"vampprior.py {TINY} --run RUN --posterior flow --flow-layers 2 --no-figures",
    "&evaluate.py RUN --no-figures",
    f"count_vae.py {COUNTS} --run RUN --prior vampprior --components 3",
    f"ladder_vae.py {LADDER} --run RUN",
    f"dvae.py {TINY_DVAE} --run RUN --struct 2-layer-nonlin --particles 2",
    "&evaluate.py RUN --no-figures",
    f"&dvae.py {TINY_DVAE} --run RUN --struct 2-layer-nonlin --particles 2 --resume --num-images 7 --no-figures",
    f"dvae.py {TINY_DVAE} --run RUN --model dvae_spike_exp --sampler pa --schedule constant --no-figures",
    "&evaluate.py RUN --no-figures",
    f"dvae.py {TINY_DVAE} --run RUN --model dvaes_gi --struct 1-layer-lin --valid-images 20 --no-figures",
    f"dvae.py {TINY_DVAE} --run RUN --baseline dvaepp_power --beta 5 --k 2 --warmup 1 --weight-decay 0 --no-figures",
    f"stick_breaking_vae.py {STICKS} --run RUN",
    "&evaluate.py RUN --num-samples 40 --no-figures",
    f"stick_breaking_vae.py {ALL_STICKS} --run RUN --no-figures --latents gamma --layers 2 --network convolutional",
    "&evaluate.py RUN --no-figures",
    f"stick_breaking_vae.py {STICKS} --run RUN --no-figures --latents beta --learn-concentration --hyperprior 2 0.5",
    "&evaluate.py RUN --no-figures",
    f"stick_breaking_vae.py {STICKS} --run RUN --no-figures --latents gaussian",
    f"gaussian_mixture_vae.py {MIXTURE} --run RUN --latent 2 --weights learned",
    "&evaluate.py RUN --no-figures",
    f"gaussian_mixture_vae.py {MIXTURE} --run RUN --posterior mixture --objective stratified-iwelbo --no-figures",
    "&evaluate.py RUN --no-figures",
    f"gaussian_mixture_vae.py {PLAIN_MIXTURE} --run RUN --prior standard --posterior mixture --objective stratified",
    f"gaussian_mixture_vae.py {MIXTURE} --run RUN --no-figures --objective iwelbo --particles 2",
    f"dirichlet_process_vae.py {LATENT_MIXTURE} --run RUN --component-prior learned",
    "&evaluate.py RUN --no-figures",
    f"dirichlet_process_vae.py {LATENT_MIXTURE} --run RUN --no-figures --model dlgmm --objective published",
    "&evaluate.py RUN --no-figures",
    f"dirichlet_process_vae.py {LATENT_MIXTURE} --run RUN --no-figures --model two-layer --particles 2",
    "&evaluate.py RUN --no-figures",
    f"dirichlet_process_vae.py {LATENT_MIXTURE} --run RUN --no-figures --model vae --objective iwelbo",
    f"density_network.py {DENSITY} --run RUN",
    "&evaluate.py RUN --no-figures",
    f"iwae.py {IWAE} --run RUN --no-figures",
    "&evaluate.py RUN --no-figures",
    f"iwae.py {IWAE} --run RUN --no-figures --layers 2 --gradient dreg --schedule constant",
    "&evaluate.py RUN --no-figures",
    f"iwae.py {IWAE} --run RUN --no-figures --objective vae",
    f"semi_supervised.py {PARTLY} --run RUN",
    "&evaluate.py RUN --no-figures",
    f"&semi_supervised.py {PARTLY} --run RUN --epochs 3 --resume --no-figures",
    f"semi_supervised.py {PARTLY} --run RUN --latents gaussian --posterior-sees-label --select bound --no-figures",
    "&evaluate.py RUN --no-figures",
    f"semi_supervised.py {PLAIN_PARTLY} --run RUN --hidden 4 4 4 --stratified --num-train 900 --labelled-batch-size 9",
    "&evaluate.py RUN --no-figures",
]


def chains():
    """Command lines that belong together."""
    found = []
    for command in COMMANDS:
        if command.startswith("&"):
            found[-1].append(command[1:])
        else:
            found.append([command])
    return found


def test_every_example_is_run():
    programs = {file.name for file in EXAMPLES.glob("*.py") if "__main__" in file.read_text()}
    assert programs == {command.strip("&").split()[0] for command in COMMANDS} | ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize("chain", chains(), ids=lambda chain: chain[0].replace(TINY, "").replace(TINY_DVAE, ""))
def test_commands(chain, launch, tmp_path):
    run, least = tmp_path / "run", -400.0 if "count_vae" in chain[0] else -64.0  # of counts
    for number, command in enumerate(chain):
        text = launch(command.replace("RUN", str(run)))
        assert [file.parent for file in tmp_path.rglob("results.json")] == [run]
        assert (run / "figures").exists() == any("--no-figures" not in done for done in chain[: number + 1])
        values = results(run, least)
        row = round(values["log_likelihood"], 2), round(values["standard_error"], 2)
        assert printed(text) == [row]


def test_grey_images_get_bits_per_dimension(launch, tmp_path, made_root):
    tiny = (
        TINY.replace("digits --train-images 200", "frey_faces")
        + " --epochs 4 --learning-rate 0.02 --optimizer adam --no-figures"
    )
    text = launch(f"vampprior.py {tiny} --root {made_root} --model hvae --run {tmp_path}")
    values = json.loads((tmp_path / "results.json").read_text())
    bits = -values["log_likelihood"] / (560 * math.log(2))
    assert values["bits_per_dimension"] == pytest.approx(bits)
    assert 5 < bits < 8  # a fair choice of each byte costs 8
    assert f" {bits:.3f} ± " in text


def test_sizes_that_make_no_network_are_named(launch, tmp_path):
    for flags, message in (
        ("--latent 0", "--latent must be at least 1, got 0"),
        ("--latent -2", "--latent must be at least 1, got -2"),
        ("--model hvae --hidden", "--hidden needs a size for --model hvae, got none"),
        ("--model pixelhvae --hidden", "--hidden needs a size for --model pixelhvae, got none"),
    ):
        with pytest.raises(SystemExit, match=message):
            launch(f"vampprior.py {TINY} --run {tmp_path / 'none'} {flags}")
    flags = "--epochs 1 --train-images 1197 --no-figures --model vae --hidden"
    launch(f"vampprior.py {TINY} --run {tmp_path / 'linear'} {flags}")
    results(tmp_path / "linear")


def test_resumed_run_goes_on_and_keeps_its_arguments(launch, tiny_run):
    with pytest.raises(SystemExit, match=r"--run: .* holds a run: resume it with --resume, or name another --run"):
        launch(f"vampprior.py {TINY} --run {tiny_run} --no-figures")
    with pytest.raises(SystemExit, match="latent: was 2, is 3"):
        launch(f"vampprior.py {TINY} --run {tiny_run} --no-figures --resume --latent 3")
    launch(f"vampprior.py {TINY} --run {tiny_run} --no-figures --resume --epochs 3")
    with (tiny_run / "metrics.csv").open() as file:
        assert [float(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3]


def test_semi_supervised_errors_of_several_seeds(launch, tmp_path):
    whole = PARTLY.replace("--train-images 400 ", "").replace("--batch-size 95", "--batch-size 379")
    text = launch(f"semi_supervised.py {whole} --run {tmp_path / 'run'} --no-figures --seed 3 --num-seeds 2")
    errors = [100 * results(tmp_path / f"run-{seed}")["classification_error"] for seed in (3, 4)]
    assert [float(e) for e in re.findall(r"^test error (\S+) %", text, re.M)] == [round(e, 2) for e in errors]
    mean, deviation, neighbours = re.search(r"2 seeds: test error (\S+) ± (\S+) %, .* (\S+) ± \S+ %", text).groups()
    assert float(mean) == pytest.approx(sum(errors) / 2, abs=0.006)
    assert float(deviation) == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5, abs=0.006)
    assert 0 < float(neighbours) < 50
    again = launch(f"semi_supervised.py {whole} --run {tmp_path / 'run'} --no-figures --seed 3 --num-seeds 2 --resume")
    assert again == text
    text = launch(f"evaluate.py {tmp_path / 'run-4'} --no-figures")
    assert f"{errors[1]:.2f} % of all test images are classified wrongly" in text


def metrics_of(path):
    with (path / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_several_seeds_are_trained_together_and_come_to_what_each_comes_to_alone(launch, tmp_path):
    text = launch(f"vampprior.py {TINY} --run {tmp_path / 'run'} --no-figures --seed 3 --num-seeds 2")
    launch(f"vampprior.py {TINY} --run {tmp_path / 'alone'} --no-figures --seed 4")
    for row, other in zip(metrics_of(tmp_path / "run-4"), metrics_of(tmp_path / "alone"), strict=True):
        assert row == pytest.approx(other, rel=1e-4)
    values = [results(tmp_path / f"run-{seed}", -100.0)["log_likelihood"] for seed in (3, 4)]
    assert values[1] == pytest.approx(results(tmp_path / "alone", -100.0)["log_likelihood"], rel=1e-3)
    assert "mean ± standard deviation over seeds 3, 4" in text
    mean, deviation = map(float, re.search(r"^log_likelihood +(\S+) ± (\S+)$", text, re.M).groups())
    assert mean == pytest.approx(sum(values) / 2, abs=1e-4)
    assert deviation == pytest.approx(abs(values[0] - values[1]) / 2**0.5, abs=1e-4)


@pytest.mark.parametrize("flags", ["--num-seeds 0", "--num-seeds 2 --compare 2"])
def test_seeds_that_cannot_be_trained_are_refused(launch, flags):
    with pytest.raises(SystemExit, match="--num-seeds"):
        launch(f"density_network.py --data digits {flags}")


def test_demo_compares_both_priors_and_leaves_an_older_run_alone(launch, tmp_path):
    (tmp_path / "demo").mkdir()
    text = launch(f"demo.py --run {tmp_path / 'demo'} --epochs 1 --num-samples 30")
    assert not any((tmp_path / "demo").iterdir())
    rows = [results(tmp_path / "demo-2" / prior) for prior in ("standard", "vampprior")]
    assert printed(text)[:2] == [(round(r["log_likelihood"], 2), round(r["standard_error"], 2)) for r in rows]
    gain = float(re.search(r"gains (-?\d+\.\d\d) ±", text)[1])
    assert gain == pytest.approx(rows[1]["log_likelihood"] - rows[0]["log_likelihood"], abs=0.006)


def test_mixture_prior_is_compared_with_the_standard_one(launch, tmp_path):
    text = launch(f"gaussian_mixture_vae.py {MIXTURE} --run {tmp_path / 'run'} --kl bound --compare")
    rows = [results(tmp_path / folder) for folder in ("run", "run-standard", "run")]
    assert printed(text) == [(round(r["log_likelihood"], 2), round(r["standard_error"], 2)) for r in rows]
    assert (tmp_path / "run" / "figures" / "samples_of_both_priors.png").exists()


def test_density_network_is_compared_with_the_vae(launch, tmp_path):
    text = launch(f"density_network.py {DENSITY} --run {tmp_path} --no-figures --compare 1 3")
    rows = [
        results(tmp_path / f"{guide}-{size}")["log_likelihood"] for size in (1, 3) for guide in ("prior", "encoder")
    ]
    found = [mean for mean, _ in printed(text)]
    assert [found[i] for i in (0, 2, 3, 5)] == [round(value, 2) for value in rows]
    assert text.count("encoder fitted afterwards") == 2


def test_use_of_components_and_ratios_of_gradients_are_printed(launch, tmp_path):
    text = launch(f"dirichlet_process_vae.py {LATENT_MIXTURE} --run {tmp_path / 'a'} --no-figures")
    shares = [float(share) for share in re.search(r"E\[pi\]: (.*) %", text)[1].split()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(100, abs=0.2)
    text = launch(f"iwae.py {IWAE} --run {tmp_path / 'b'} --no-figures --snr-draws 3")
    rows = re.findall(r"^(\w+ k=\d+) +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == [f"{g} k={k}" for g in ("reparam", "stl", "dreg") for k in (1, 5, 50)]
    assert all(float(value) >= 0 for row in rows for value in row[1:])


def explanations(kind):
    """The text below each field of a dataclass; empty where there is none."""
    (config,) = ast.parse(inspect.getsource(kind)).body
    found = {}
    for node, below in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
            found[node.target.id] = " ".join((text or "").split())
    return found


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_help_explains_every_flag(file, launch, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        launch(f"{file.name} --help")
    assert end.value.code == 0
    text = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    commands = {"compare": cli.Compare, "demo": cli.Demo, "evaluate": cli.Evaluate}
    kind = commands[file.stem] if file.stem in commands else zoo.SYSTEMS[file.stem].config
    own = {}
    for base in kind.__mro__[-2::-1]:
        own |= {name: text or own[name] for name, text in explanations(base).items() if name != "RENAMED"}
    for name, explanation in own.items():
        if name != "run" or "--run" in text:  # a positional argument
            assert f"--{name.replace('_', '-')} " in text.replace(",", " ")
        assert explanation, f"--{name} has no explanation"
        assert explanation in text


def test_numbers_of_the_evaluation_are_refused_before_the_training(launch, tmp_path, tiny_run):
    before = (tiny_run / "results.json").read_bytes()
    for flags, message in (
        ("--num-images 1", "--num-images must lie between 2 and the 300 test images of digits, got 1"),
        ("--num-images 301", "--num-images must lie between 2 and the 300 test images of digits, got 301"),
        ("--num-samples 0", "--num-samples must be at least 1, got 0"),
    ):
        with pytest.raises(SystemExit, match=message):
            launch(f"vampprior.py {TINY} --run {tmp_path / 'run'} {flags}")
        assert not (tmp_path / "run").exists()
        with pytest.raises(SystemExit, match=message):
            launch(f"evaluate.py {tiny_run} --no-figures {flags}")
        assert (tiny_run / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("dirichlet_process_vae.py --model two-layer --component-prior learned", "--component-prior .* two-layer"),
        ("dirichlet_process_vae.py --model vae --objective published", "--objective published .* --model vae"),
        ("gaussian_mixture_vae.py --kl bound --objective iwelbo", "--kl bound .* --objective iwelbo"),
        ("gaussian_mixture_vae.py --kl bound --prior standard", "--kl bound .* --prior mixture"),
        ("gaussian_mixture_vae.py --kl bound --posterior mixture", "--kl bound .* --posterior gaussian"),
    ],
)
def test_flags_without_effect_are_refused(launch, tmp_path, command, message):
    tiny = LATENT_MIXTURE if "dirichlet" in command else MIXTURE
    with pytest.raises(SystemExit, match=message):
        launch(f"{command} {tiny} --run {tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("posterior", ["gaussian", "mixture"])
@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("objective", ["elbo", "stratified"])
def test_the_bound_is_refused_where_it_is_not_used(prior, posterior, objective):
    example = zoo.gaussian_mixture_vae
    sizes = {"components": 3, "posterior_components": 2, "latent": 2, "hidden": (4,)}
    config = example.Config(prior=prior, posterior=posterior, objective=objective, kl="bound", **sizes)
    data = datasets.load("digits")
    pair = example.build(config, data)
    used = example.objective(config).describe(pair.model, pair.guide, data.test.images[:5])
    if used == {"z": "bound"}:
        example.check(config)
    else:
        with pytest.raises(SystemExit, match="--kl bound"):
            example.check(config)


def test_rare_labels_and_fewer_training_images(launch, tmp_path):
    """Of a digit no label may be left; and the share of labels is that of the images that are left."""
    example = zoo.semi_supervised
    few = example.Config(data="digits", label_fraction=0.01, seed=9)
    data = example.load_data(few)
    assert len(data.train.labels[data.train.labels >= 0].unique()) < 10
    assert int(data.train.labels.max()) == 8
    assert example.build(few, data).num_classes == 10
    tiny = PARTLY.replace("0.05", "0.1") + " --no-figures --train-images 100"
    launch(f"semi_supervised.py {tiny} --run {tmp_path}")
    results(tmp_path)
    cut = example.load_data(example.Config(data="digits", train_images=100, label_fraction=0.1))
    assert (len(cut.train), int((cut.train.labels >= 0).sum())) == (100, 10)
    whole = datasets.load("digits")
    assert torch.equal(cut.train.images, whole.train.images[:100])


def test_as_a_program(tmp_path):
    done = run_python(EXAMPLES / "vampprior.py", *TINY.split(), "--no-figures", cwd=tmp_path)
    assert "Warning" not in done.stderr
    (row,) = printed(done.stdout)
    assert row[0] == round(results(tmp_path / "runs" / "digits-vae-vampprior-14")["log_likelihood"], 2)
