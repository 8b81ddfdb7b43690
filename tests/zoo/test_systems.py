"""The registry of published systems, and what holds for each of them."""

import ast
import dataclasses
import json
from pathlib import Path

import pytest
import torch

import pyrodgm
from pyrodgm import datasets, experiment, zoo
from pyrodgm.experiment import ImageSystem
from pyrodgm.experiment.evaluation import check_options
from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective
from pyrodgm.processes import kinds_of

FILES = {file.stem for file in Path(zoo.__file__).parent.glob("*.py")} - {"__init__"}
IMAGES = [system for system in zoo.SYSTEMS.values() if isinstance(system, ImageSystem)]

# Flags that have one name in all systems; what else is called so means the same.
MEANINGS = {
    "particles": int,
    "truncation": int,
    "beta1": float,
    "learning_rate": float,
    "batch_size": int,
    "seed": int,
    "num_seeds": int,
    "concentration": float,
    "data": str,
    "valid_every": int,
}

TINY = {
    "vampprior": {"components": 3, "latent": 2, "hidden": (4,)},
    "stick_breaking_vae": {"truncation": 4, "hidden": (4,)},
    "semi_supervised": {"truncation": 3, "hidden": (4,), "label_fraction": 0.05, "labelled_batch_size": 5},
    "gaussian_mixture_vae": {"components": 3, "latent": 2, "hidden": (4,)},
    "dirichlet_process_vae": {"components": 3, "latent": 2, "hidden": (4,)},
    "dvae": {"units": 4, "hidden": (5,), "sampler": "exact"},
    "iwae": {"latent": (3, 2), "hidden": (4, 3), "particles": 2},
    "ladder_vae": {"latent": (4, 3, 2), "hidden": (5, 4, 3)},
    "density_network": {"latent": 2, "hidden": (4,), "particles": 3},
    "count_vae": {"data": "digit_counts", "prior": "vampprior", "components": 3, "latent": 2, "hidden": (4,)},
    "sound_vae": {"data": "plucked_strings", "components": 3, "latent": 2, "hidden": (4,)},
    "sentence_vae": {"data": "toy_sentences", "components": 3, "latent": 2, "hidden": 4, "embedding": 3},
    "gan": {"latent": 2, "hidden": (4,)},
    "vae_gan": {"latent": 2, "hidden": (4,)},
    "adversarial_autoencoder": {"latent": 2, "hidden": (4,), "components": 3},
    "adversarial_variational_bayes": {"latent": 2, "hidden": (4,)},
    "stick_breaking_nade": {"hidden": 6, "max_steps": 2},
}


def test_every_file_is_a_system_of_its_name():
    assert set(zoo.SYSTEMS) == FILES
    for name, system in zoo.SYSTEMS.items():
        assert system.config.__module__ == f"pyrodgm.zoo.{name}"
        assert ast.get_docstring(ast.parse(Path(zoo.__file__).with_name(f"{name}.py").read_text()))


@pytest.mark.parametrize("name", zoo.SYSTEMS)
def test_flags_have_one_name_and_one_meaning(name):
    fields = {field.name: field for field in dataclasses.fields(zoo.SYSTEMS[name].config)}
    for flag, kind in MEANINGS.items():
        if flag in fields:
            assert type(fields[flag].default) is kind
    renamed = getattr(zoo.SYSTEMS[name].config, "RENAMED", {})
    assert set(renamed.values()) <= fields.keys()
    assert not renamed.keys() & fields.keys()


@pytest.mark.parametrize("system", IMAGES, ids=lambda system: system.name)
def test_objective_of_the_untrained_pair_is_finite_and_reaches_all_parts(system):
    config = system.config(**{"data": "digits", **TINY[system.name]})
    data = system.load_data(config, None).to(dtype=torch.float64)
    pair, objective = system.build(config, data).double(), system.objective(config)
    if isinstance(objective, AdversarialObjective):
        objective = objective.of(pair)
    x = data.binarize(data.train.images[:10])
    batch = (x, data.train.labels[:5].clamp(min=0)) if system.name == "semi_supervised" else (x,)
    loss = objective.differentiable_loss(pair.model, pair.guide, *batch)
    loss.backward()
    assert torch.isfinite(loss)
    optimizer = system.optimizer(config)(pair.parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert all(torch.isfinite(p.grad).all() for p in pair.parameters() if p.grad is not None)
    assert sum(p.grad is not None for p in pair.parameters()) > 1


def pairs_of(name):
    """Untrained pairs of a system, of all kinds of buffers that its flags choose from."""
    if name == "parity":
        return [zoo.parity.build(zoo.parity.Config())]
    if name == "adaptive_language_model":
        text = datasets.Text.from_strings("abc" * 9, "abc")
        return [
            zoo.adaptive_language_model.build(zoo.adaptive_language_model.Config(model=model, hidden=4), text)
            for model in ("batch-norm-lstm", "stick-breaking-gru")
        ]
    system, more = zoo.SYSTEMS[name], {"vampprior": [{"prior": "exemplar"}], "dvae": [{"sampler": "pt"}]}
    configs = [system.config(**{"data": "digits", **TINY[name], **flags}) for flags in ({}, *more.get(name, []))]
    return [system.build(config, system.load_data(config, None)) for config in configs]


@pytest.mark.parametrize("name", zoo.SYSTEMS)
def test_every_buffer_says_what_it_is_on_several_processes(name):
    for pair in pairs_of(name):
        kinds = kinds_of(pair)
        assert not [buffer for buffer, kind in kinds.items() if kind is None]
        assert kinds.keys() >= pair.state_dict().keys() - dict(pair.named_parameters(remove_duplicate=False)).keys()


def test_the_library_registers_no_buffer_without_saying():
    files = [file for file in Path(pyrodgm.__file__).parent.rglob("*.py") if ".register_buffer(" in file.read_text()]
    assert [file.name for file in files] == ["state.py"]


def run_of(system, folder, arguments):
    """A run folder as far as its flags go."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": {"example": system.name, "arguments": arguments}}))
    return experiment.Run(folder, system.name, arguments, [], [])


@pytest.mark.parametrize("name", zoo.SYSTEMS)
def test_runs_under_former_names_of_flags_are_read(name, tmp_path):
    system = zoo.SYSTEMS[name]
    config = system.config()
    arguments = json.loads(json.dumps(dataclasses.asdict(config)))
    former = {new: old for old, new in getattr(system.config, "RENAMED", {}).items()}
    old = {former.get(flag, flag): value for flag, value in arguments.items()}
    assert experiment.restore_config(system.config, run_of(system, tmp_path / "run", old)) == config
    (tmp_path / "run" / "state.pt").touch()
    experiment.check_resumable(tmp_path / "run", name, config, ())
    with pytest.raises(ValueError, match=r"begun with other arguments \(seed: was"):
        experiment.check_resumable(tmp_path / "run", name, dataclasses.replace(config, seed=99), ())


@pytest.mark.slow
def test_a_system_is_used_from_a_program(tmp_path):
    torch.set_default_dtype(torch.float32)
    system = zoo.vampprior.SYSTEM
    config = zoo.vampprior.Config(data="digits", epochs=1, warmup=0, run=str(tmp_path / "run"), **TINY["vampprior"])
    trained = experiment.train(system, config, lambda pair, data, run, **options: len(run.metrics))
    assert trained.report == 1
    assert trained.data.name == "digits"
    twin = experiment.rebuild(system, experiment.read_run(tmp_path / "run"))[1]
    experiment.load_pair(experiment.read_run(tmp_path / "run"), twin)
    x = datasets.load("digits").test.images[:3]
    assert torch.equal(twin.posterior(x).mean, trained.pair.posterior(x).mean)


@pytest.mark.parametrize("name", ["gan", "stick_breaking_nade"])
@pytest.mark.parametrize("option", ["certified", "encoder_samples"])
def test_estimates_that_a_system_does_not_have_are_refused(name, option):
    check_options(zoo.SYSTEMS[name], {option: 0})
    check_options(zoo.SYSTEMS["vampprior"], {option: 3})
    with pytest.raises(ValueError, match=f"{option} must be 0 for {name}, got 3"):
        check_options(zoo.SYSTEMS[name], {option: 3})
