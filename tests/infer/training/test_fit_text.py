"""Training on texts and measuring code lengths."""

import copy
import csv
import math
from dataclasses import replace
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, TraceMeanField_ELBO

from pyrodgm.datasets import Text, stream_batches
from pyrodgm.infer import DamagedFileError, FitSettings, NonFiniteError, bits_per_symbol, fit_text
from pyrodgm.infer.training.loggers import read_csv
from pyrodgm.likelihoods import CategoricalLikelihood
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import AdaptiveComputationTime, BatchNormLSTM, RecurrentNetwork, StickBreakingRNN

PATTERN = "abcabd" * 120
TEXT = Text.from_strings(PATTERN, PATTERN[:150], PATTERN[:150])
ADAM = partial(torch.optim.Adam, lr=2e-2)


def make(kind=RecurrentNetwork, **kwargs):
    return SequenceModel.of_symbols(kind(4, 12, **kwargs), len(TEXT.symbols))


def test_bits_of_one_stream_are_those_of_the_whole_sequence():
    pair, sequence = make(), TEXT.encode(PATTERN[:101])
    out = pair.network(pair.encoder(sequence[None, :-1]))
    log_prob = pair.likelihood(out.hidden).log_prob(sequence[None, 1:])
    bits = bits_per_symbol(pair, sequence, num_streams=1, length=7)
    assert bits.bits == pytest.approx(-log_prob.mean().item() / math.log(2), rel=1e-12)
    assert (bits.bound, bits.count, bits.num_steps, bits.mean_step) == (bits.bits, 100, 1.0, 1.0)


def test_streams_cut_the_sequence_and_predict_every_symbol_once():
    pair, sequence = make(), TEXT.encode(PATTERN[:24])  # 23 to predict, 5 streams of 5, the last with 3
    nats = 0.0
    for begin in range(0, 23, 5):
        part = sequence[begin : begin + 6]
        out = pair.network(pair.encoder(part[None, :-1]))
        nats -= pair.likelihood(out.hidden).log_prob(part[None, 1:]).sum().item()
    bits = bits_per_symbol(pair, sequence, num_streams=5, length=3)
    assert bits.bits == pytest.approx(nats / 23 / math.log(2), rel=1e-12)


@pytest.mark.slow
def test_bound_is_longer_and_stopping_early_is_faster():
    pair = make(StickBreakingRNN, max_steps=6)
    sequence = TEXT.encode(PATTERN[:200])
    one = bits_per_symbol(pair, sequence)
    assert one.bound > one.bits
    many = bits_per_symbol(pair, sequence, num_samples=20)
    assert many.bits < one.bits + 0.01
    early = bits_per_symbol(pair, sequence, tolerance=0.1)
    assert 1 < early.num_steps < 6 == one.num_steps
    assert math.isnan(early.bound)
    assert bits_per_symbol(pair, sequence) == one
    with pytest.raises(ValueError, match=r"sequence must be whole numbers \[N\], N at least 2"):
        bits_per_symbol(pair, sequence[:1])


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (RecurrentNetwork, {"cell": "gru"}),
        pytest.param(BatchNormLSTM, {"max_positions": 6}, marks=pytest.mark.slow),
        pytest.param(AdaptiveComputationTime, {"max_steps": 3}, marks=pytest.mark.slow),
        pytest.param(StickBreakingRNN, {"max_steps": 3}, marks=pytest.mark.slow),
    ],
    ids=["gru", "batch_norm", "act", "sticks"],
)
def test_a_pattern_is_learned(kind, kwargs, tmp_path):
    """Three bits of six symbols are to be guessed by a network without memory: 4 / 6 log2 2 = 0.67 bits a symbol."""
    pair = make(kind, **kwargs)
    result = fit_text(
        pair,
        TEXT,
        batch_size=16,
        length=11,  # streams at different places of the pattern
        optimizer=ADAM,
        kl_warmup=1,
        run_dir=tmp_path / "run",
        settings=FitSettings(max_steps=150, steps_per_epoch=50, clip_grad_norm=11.0, progress=False),
    )
    assert [row["step"] for row in result.metrics] == [50, 100, 150]
    assert [row["kl_weight"] for row in result.metrics] == [1.0, 1.0, 1.0]
    # Sixteen rows at three places of a pattern have statistics that no other sequence has.
    if kind is BatchNormLSTM:
        bits = [-row["train_bound"] / math.log(2) for row in result.metrics]
    else:
        bits = [row["valid_bits"] for row in result.metrics]
    assert min(bits) < 0.1
    assert bits_per_symbol(pair, TEXT.valid).bits == pytest.approx(result.best_bits)
    assert not pair.training
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [float(row["valid_bits"]) for row in csv.DictReader(file)] == [r["valid_bits"] for r in result.metrics]
    with pytest.raises(FileExistsError, match="holds a run"):
        fit_text(pair, TEXT, epochs=1, batch_size=4, length=10, run_dir=tmp_path / "run")


@pytest.mark.slow
def test_plain_svi_trains_it_window_by_window():
    pair = make(StickBreakingRNN, max_steps=3)
    pair.carry(6)
    svi = SVI(pair.model, pair.guide, pyro.optim.ClippedAdam({"lr": 2e-2}), loss=TraceMeanField_ELBO())
    for _ in range(15):
        pair.restart()
        for x, y in stream_batches(TEXT.train, 6, 12):
            svi.step(x, y)
            pair.advance()
    pair.eval()
    assert bits_per_symbol(pair, TEXT.valid).bits < 0.15


@pytest.mark.slow
def test_training_repeats_itself_and_leaves_the_random_state_alone():
    found = []
    for mode in ("eager", "traced"):
        torch.manual_seed(3)
        pair = make(StickBreakingRNN, max_steps=3)
        before = torch.get_rng_state()
        settings = FitSettings(max_steps=12, steps_per_epoch=5, compile=mode, progress=False)
        result = fit_text(pair, TEXT, batch_size=4, length=10, settings=settings)
        assert torch.equal(before, torch.get_rng_state())
        found.append([row["valid_bound"] for row in result.metrics])
    assert found[0] == found[1]
    assert len(found[0]) == 3


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_cut_off(tmp_path):
    """Cut within the second reading of the text, with noise of the stick weights in the random state."""

    def run(steps, folder, **kwargs):
        torch.manual_seed(3)
        pair = make(StickBreakingRNN, max_steps=3)
        cosine = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=3)
        fitted = fit_text(
            pair,
            TEXT,
            batch_size=4,
            length=10,  # 17 windows
            optimizer=ADAM,
            kl_warmup=2.5,
            run_dir=tmp_path / folder,
            settings=FitSettings(max_steps=steps, steps_per_epoch=10, lr_scheduler=cosine, progress=False),
            **kwargs,
        )
        return fitted, pair

    whole, pair = run(27, "whole")
    first, _ = run(20, "parts")
    with pytest.raises(FileExistsError, match="holds a run"):
        run(27, "parts")
    with pytest.raises(ValueError, match=r"begun with other settings .*seed: was 0, is 1"):
        run(27, "parts", resume=True, seed=1)
    rest, again = run(27, "parts", resume=True)
    assert [row["step"] for row in whole.metrics] == [10, 20, 27]
    assert rest.metrics == whole.metrics
    assert first.metrics == whole.metrics[:2]
    assert (rest.best_step, rest.best_bits) == (whole.best_step, whole.best_bits)
    assert all(torch.equal(a, b) for a, b in zip(pair.state_dict().values(), again.state_dict().values(), strict=True))
    for name in ("metrics.csv", "best.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    (tmp_path / "parts" / "state.pt").write_bytes(b"PK")
    with pytest.raises(DamagedFileError, match=r"state\.pt is damaged"):
        run(27, "parts", resume=True)


class Overflow(CategoricalLikelihood):
    """Logits that are not finite from the given call on."""

    _calls, _bad = 0, 10**9

    def forward(self, h):
        self._calls += 1
        factor = math.nan if self._calls >= self._bad else 1.0
        return dist.Categorical(logits=self.net(h) * factor, validate_args=False)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_what_is_not_finite_stops_it_with_the_name_of_the_site(tmp_path):
    pair = make()
    pair.likelihood = Overflow(pair.likelihood.net)
    kwargs = {"batch_size": 4, "length": 10, "run_dir": tmp_path}
    kwargs["settings"] = FitSettings(steps_per_epoch=5, compile="eager", progress=False)
    fitted = fit_text(pair, TEXT, epochs=1, **kwargs)
    weights = copy.deepcopy(pair.state_dict())
    pair.likelihood._bad = pair.likelihood._calls + 5  # one call to rehearse, three steps
    with pytest.raises(NonFiniteError, match="not finite at step 5: log_prob of y in the model"):
        fit_text(pair, TEXT, epochs=2, **kwargs, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights.values(), pair.state_dict().values(), strict=True))
    assert len(read_csv(tmp_path / "metrics.csv")) == len(fitted.metrics) == 1


def test_parameters_that_are_not_finite_stop_it():
    pair = make()
    sgd = partial(torch.optim.SGD, lr=math.inf)
    with pytest.raises(NonFiniteError, match=r"at step 0: value of network\.input_weight"):
        fit_text(pair, TEXT, optimizer=sgd, batch_size=4, settings=FitSettings(max_steps=60, progress=False))
    assert all(torch.isfinite(p).all() for p in pair.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": None}, "epochs must be given where settings have no max_steps"),
        ({"kl_warmup": -1}, "kl_warmup must be at least 0, got -1"),
        (
            {"text": replace(TEXT, valid=TEXT.valid[:1])},
            "text must have a validation part of at least 2 symbols, got 1",
        ),
        ({"batch_size": 101}, "sequence: expected at least 10101 symbols"),
        ({"kl_warmup": 3, "objective": TraceMeanField_ELBO()}, "kl_warmup must be 0"),
        ({"settings": FitSettings(valid=TEXT.valid)}, "valid must be None for a text"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_text(make(), **{"text": TEXT, "epochs": 1, **arguments})
