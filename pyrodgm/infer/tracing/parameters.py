"""What ``pyro.param`` is answered with where the library runs the programs of others."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import constraints

from pyrodgm.infer.tracing._compat import lazy_clone, names_in_store
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.tracing.rows_plate import full_size, plate_of


class OwnParameters(Messenger):
    """Answers ``pyro.param`` with the pair's own parameter; any other statement is left to Pyro's parameter store.

    Args:
        pair: The pair.
        given: Names that the store holds for other statements.

    Attributes:
        rows: Rows of the batch that the programs run on; 0 where nobody asks.
        full_size: The size of the plate over these rows, which may be a subsample of it; that of observed sites, if
            there is one.
    """

    def __init__(self, pair: nn.Module, given: Collection[str] = (), rows: int = 0) -> None:
        super().__init__()
        self.pair, self.given = pair, set(given)
        self.rows = self.full_size = rows
        self._is_of_data = False
        self._own: dict[int, Tensor] = {}  # holds the tensors, so that no other gets the identity of one
        self._answered: dict[str, Tensor] = {}
        self._stored: dict[str, bool] = {}  # statements left to the store, and whether it knew them before

    def _pyro_post_sample(self, msg: Any) -> None:
        if not self.rows or self._is_of_data or site_is_subsample(msg) or msg["infer"].get("_deterministic"):
            return
        plate = plate_of(msg, self.rows)
        if plate is not None:
            self.full_size, self._is_of_data = full_size(plate), msg["is_observed"]

    def _pyro_param(self, msg: Any) -> None:
        name, store, args = msg["name"], pyro.get_param_store(), msg["args"]
        value = args[1] if len(args) > 1 else self._answered.get(name)
        if isinstance(value, Tensor) and self._is_own(value) and _is_real(msg):
            self._answered[name] = value
            msg["value"], msg["done"], msg["stop"] = value, True, True
        elif msg["fn"] == store.get_param:  # else it is an attribute of a PyroModule that has a store of its own
            self._stored.setdefault(name, name in store)

    def foreign(self) -> list[str]:
        """Names of the statements so far of what is no parameter of the pair, but for frozen ones of other modules."""
        store = dict(pyro.get_param_store().named_parameters())  # also of statements that the program hid
        fine = {name for name, value in store.items() if self._is_own(value) or not value.requires_grad}
        return sorted({*self._stored, *store} - fine)

    def unknown(self) -> list[str]:
        """Names of those that no store knew either, so that they got their initial value, but for modules' own."""
        store = dict(pyro.get_param_store().named_parameters())
        fine = {name for name, known in self._stored.items() if known and name not in store}
        fine |= {name for name, value in store.items() if isinstance(value, nn.Parameter)}
        return sorted({*self._stored, *store} - fine - self.given)

    def has_asked_in_vain(self, error: KeyError) -> bool:
        """Whether this is the error of a statement for a value that there is not."""
        return error.args[0] in self._stored and error.args[0] not in pyro.get_param_store()

    def _is_own(self, value: Tensor) -> bool:
        if id(value) not in self._own:  # the program makes some, and functional_call replaces them
            self._own = {id(parameter): parameter for parameter in self.pair.parameters()}
        return id(value) in self._own


@contextmanager
def own_parameters(pair: nn.Module) -> Iterator[OwnParameters]:
    """Context in which a pair uses its own parameters, and other ``pyro.param`` statements those of the caller's store.

    Their value is that at the beginning of the context. The caller's store is not written to: where it lacks a name, a
    statement gets its initial value, as in Pyro, which is forgotten at the end.
    """
    store, own = pyro.get_param_store(), names_in_store(pair)
    state, identities = store.get_state(), {id(parameter) for parameter in pair.parameters()}
    others = {name: v for name, v in state["params"].items() if name not in own and id(v) not in identities}
    state["params"] = {name: lazy_clone(v).detach().requires_grad_(v.requires_grad) for name, v in others.items()}
    state["constraints"] = {name: state["constraints"][name] for name in others}
    with store.scope(state), _running(OwnParameters(pair, others)) as run:
        yield run


@contextmanager
def trained_parameters(pair: nn.Module, rows: int = 0) -> Iterator[OwnParameters]:
    """Context in which a pair uses its own parameters alone, since an optimiser has no others; on so many rows.

    Raises:
        ProgramError: At its end, for ``pyro.param`` statements of anything else; names them.
    """
    with pyro.get_param_store().scope(), _running(OwnParameters(pair, rows=rows)) as run:
        yield run
        names = run.foreign()
        if names:
            raise ProgramError(
                "', '".join(names),
                "is a pyro.param statement of no parameter of the pair, which the optimiser does not have: make it an "
                "attribute of the pair, nn.Parameter(...) or, in a PyroModule, PyroParam(..., constraint=...), make a "
                "module that pyro.module registers a part of the pair, or train by pyro.infer.SVI",
            )


@contextmanager
def _running(run: OwnParameters) -> Iterator[OwnParameters]:
    """The context of the handler, which leaves frozen parameters frozen: the store makes trainable what it gets."""
    frozen = [parameter for parameter in run.pair.parameters() if not parameter.requires_grad]
    try:
        with run:
            yield run
    except KeyError as error:
        if not run.has_asked_in_vain(error):
            raise
        reason = "is a pyro.param statement without an initial value, of no parameter of the pair"
        raise ProgramError(error.args[0], f"{reason}, and Pyro's parameter store has no such name") from None
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _is_real(msg: Any) -> bool:
    """Whether a statement has no constraint; a copied module has a copy of the object that says so."""
    return isinstance(msg["kwargs"].get("constraint", constraints.real), type(constraints.real))


@contextmanager
def refusing_new_parameters(pair: nn.Module) -> Iterator[None]:
    """Context that raises ValueError for parameters that a first call in it makes: no optimiser knows of them."""
    before = dict(pair.named_parameters())
    yield
    made = [name for name, _ in pair.named_parameters() if name not in before]
    if made:
        raise ValueError(
            f"optimizer must have all parameters, but the first call of the pair made {', '.join(made)}: call its "
            "guide and model once before making the optimiser"
        )
