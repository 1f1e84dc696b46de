"""A trainer in files, copies and pickles."""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self, cast

from numpy.typing import NDArray

from rewire import _carried, _checks, _saving
from rewire._container import Array, whole
from rewire._own_loop import OwnLoop
from rewire._pickling import WRITTEN, copied, given_away, of_version, taken_later
from rewire._saving import Contents
from rewire._training import TrainerLike
from rewire.callbacks import callback_config, callback_from_config, checked_callbacks, taken_up
from rewire.network import Sequential
from rewire.rewiring import Custom

__all__ = ["Keeping"]


class Keeping(OwnLoop):
    """Base of `rewire.Trainer`: what it is in files, copies and pickles, and how it is made of them again."""

    seed: int

    def _kind(self) -> type[Any]:
        """The class that takes the arguments which are kept, whatever those of a subclass are."""
        raise NotImplementedError

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """JSON-able description with all counters and the history; :meth:`from_config` reads it back."""
        return {
            **self._config_without_callbacks(),
            "callbacks": [callback_config(c) for c in self.callbacks],
        }

    def _config_without_callbacks(self, *, pickled: bool = False, copy: bool = True) -> dict[str, Any]:
        rule = self.rewiring
        return {
            "loss": self.loss.config(),
            "optimizer": self.optimizer.config(),
            # A function has no description, but pickle has a name for it.
            "rewiring": rule if pickled and isinstance(rule, Custom) else rule.config(),
            "callbacks": [],
            "seed": self.seed,
            "threads": self.threads,
            "standardize": self.standardize,
            # Only where it is on, so that files from before there was such a thing still read.
            **({"standardize_targets": True} if self.standardize_targets else {}),
            "metrics": self.metrics,
            "horizon": self.horizon,
            "steps_per_epoch": self.steps_per_epoch,
            "shards": self.shards,
            "state": self.state.config(rule.remembers_as, owns_state=self.owns_state(), copy=copy),
            "network": _carried.network_config(cast(TrainerLike, self)),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`."""
        found = _carried.network_arrays(cast(TrainerLike, self))
        return {**found, **self._state_arrays(), **self._callback_arrays()}

    def _callback_arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for i, callback in enumerate(self.callbacks):
            if callback_config(callback) is not None:
                found.update({f"callbacks.{i}.{name}": a for name, a in callback.arrays().items()})
        return found

    def _state_arrays(self) -> dict[str, NDArray[Any]]:
        mine = self.state.arrays(self.rewiring.remembers_as)
        return {f"state.{name}": a for name, a in mine.items()}

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, Array],
        callbacks: Iterable[Any] | None = None,
    ) -> Self:
        """A trainer, and its network, from ``config()`` and ``arrays()``.

        Parameters
        ----------
        callbacks : iterable, optional
            Instead of those that were saved. Each gets the state of one of its kind, which watches the same
            figure; of several, one with the same arguments, else in their order. By default the built-in
            ones are rebuilt; those without a ``config()`` were not saved.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they do not describe a trainer: everything is checked, and what is unknown is refused.

        Warns
        -----
        UserWarning
            For state that was saved and that none of ``callbacks`` takes up; it is given up.
        """
        _checks.one_of_types("config", config, Mapping, "a dict as config() gives")
        return cls._from_config(config, arrays, callbacks, copy=True)

    @classmethod
    def _from_config(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, Array],
        callbacks: Iterable[Any] | None,
        *,
        copy: bool,
    ) -> Self:
        """:meth:`from_config`; without ``copy`` rows of the history are those of ``config``."""
        saved = config["callbacks"]
        if not isinstance(saved, list):
            raise TypeError(f"callbacks must be a list, got {_checks.describe(saved)}")
        there = {i: c for i, c in enumerate(saved) if c is not None}
        own = [callback_from_config(c) for c in there.values()] if callbacks is None else list(callbacks)
        parts = _by_owner(arrays, there)
        trainer = cls._build(config, parts, own, copy=copy)
        for callback, i in zip(own, list(there) if callbacks is None else taken_up(own, saved), strict=True):
            if i is None:
                continue
            its, its_arrays = there.pop(i), parts.others[f"callbacks.{i}"]
            if hasattr(callback, "restore"):
                callback.restore(its, its_arrays)
            if callbacks is None and type(callback).__module__.startswith("rewire."):
                _saving.check_same(its, callback_config(callback), f"trainer.callbacks[{i}]")
        left = [(c, parts.others[f"callbacks.{i}"]) for i, c in there.items()]
        config = {**config, "network": _carried.give_up(cast(TrainerLike, trainer), config["network"], left)}
        if trainer.state.optimizer_step:
            missing = _carried.lacks(trainer.network, trainer.optimizer)
            if missing is not None:
                raise ValueError(missing)
        _carried.check(cast(TrainerLike, trainer))
        found = trainer._config_without_callbacks(copy=False)
        _saving.check_same(config, {**found, "callbacks": saved}, "trainer")
        return trainer

    @classmethod
    def _build(
        cls,
        config: Mapping[str, Any],
        parts: _Owned,
        callbacks: Iterable[Any],
        *,
        copy: bool,
    ) -> Self:
        """A trainer of what was not changed since it was one."""
        network = config["network"]
        if "shards" not in config:
            raise ValueError("config lacks 'shards': it is of an older version, which this one does not read")
        kind: Any = cls
        trainer: Self = kind(
            network if isinstance(network, Sequential)
            else Sequential.from_config(network, parts.network),
            loss=config["loss"],
            optimizer=config["optimizer"],
            rewiring=config["rewiring"],
            callbacks=callbacks,
            threads=config["threads"],
            seed=config["seed"],
            standardize=config["standardize"],
            standardize_targets=config.get("standardize_targets", False),
            horizon=config["horizon"],
            steps_per_epoch=config["steps_per_epoch"],
            metrics=config["metrics"],
            shards=config["shards"],
        )  # fmt: skip
        net = trainer.network
        trainer.state.restore(
            config["state"], parts.others["state"], metric=trainer.training_metric(),
            layers=len(net.weight_layers), n_out=net.n_out, copy=copy,
        )  # fmt: skip
        if trainer.state.optimizer_step:
            net.trained_by = weakref.ref(trainer)
        return trainer

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
        """Write network, optimizer state, counters, history, place in the epoch to a safetensors file.

        Callbacks that cannot be saved are left out, and fields of the stores that nobody declares: see
        `Callback.fields`. What :meth:`resume` would refuse is not written.

        Parameters
        ----------
        path : path-like
        notes : mapping, optional
            JSON-able remarks that are kept beside the trainer.

        Raises
        ------
        OSError, RuntimeError
            As for `Sequential.save`; RuntimeError also while gradients wait for :meth:`apply`.
        TypeError, ValueError
            For a trainer that does not fit together, or whose weights or buffers are not finite.
        """
        with self.network.gate.reading("save"):
            self._refuse_kept("save")
            self.network.check_savable()
            _carried.check_descriptions(cast(TrainerLike, self))
            _carried.check(cast(TrainerLike, self))
            arrays = {
                **_carried.network_parts(cast(TrainerLike, self)),
                **self._state_arrays(),
                **self._callback_arrays(),
            }
            _saving.write(path, "trainer", self.config(), arrays, notes)

    @classmethod
    def resume(cls, path: str | os.PathLike[str], callbacks: Iterable[Any] | None = None) -> Self:
        """The trainer that :meth:`save` wrote. It goes on with the same bits on the same instruction set.

        Parameters
        ----------
        path : path-like
        callbacks : iterable, optional
            As for :meth:`from_config`.

        Raises
        ------
        FileNotFoundError, FileError, MemoryError
            As for `Sequential.load`.
        """
        with _saving.opened(path) as contents:
            return cls.from_contents(contents, callbacks)

    @classmethod
    def from_contents(cls, contents: Contents, callbacks: Iterable[Any] | None = None) -> Self:
        """The trainer of what `rewire.files.read` or `opened` gave. Errors as for :meth:`resume`."""
        if callbacks is not None:
            callbacks = checked_callbacks(callbacks)  # a wrong one is no fault of the file
        with _saving.refusing(contents.path):
            # There may be so many rows that a copy of them is what takes most of the memory.
            return cls._from_config(*_saving.trainer_parts(contents), callbacks, copy=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = memo[id(self)] = type(self).__new__(type(self))
        with self.network.gate.reading("copy"):
            try:  # as a file would: a part may hold what cannot be copied, such as a lock
                state = self._state_to_copy()
            except (NotImplementedError, TypeError, ValueError):  # of a part that no file holds
                self._copy_into(twin, memo)
            else:
                memo.update(taken_later(state))
                twin.__setstate__(copy.deepcopy(state, memo))
        return twin

    def _state_to_copy(self) -> dict[str, Any]:
        """`__getstate__` for a copy that is made before anybody may train: stores need no digests then."""
        if type(self).__getstate__ is not Keeping.__getstate__:
            return self.__getstate__()
        return self._state(_carried.network_parts(cast(TrainerLike, self)))

    def __copy__(self) -> Self:
        with self.network.gate.reading("copy"):
            return cast(Self, copied(self))

    def _copy_into(self, twin: Self, memo: dict[int, Any]) -> None:
        """Let ``twin`` be a copy, with copies of all parts as they are."""
        self._refuse_kept("copy")
        names = ("network", "loss", "optimizer", "rewiring", "callbacks")
        parts = {name: copy.deepcopy(getattr(self, name), memo) for name in names}
        state = self.state.config(self.rewiring.remembers_as, owns_state=self.owns_state())
        arrays = self.state.arrays(self.rewiring.remembers_as)
        plain = (
            "seed", "threads", "standardize", "standardize_targets", "metrics", "horizon",
            "steps_per_epoch", "shards",
        )  # fmt: skip
        config = {**parts, **{name: getattr(self, name) for name in plain}, "state": state}
        owned = _Owned({}, {"state": arrays})
        made = self._kind()._build(config, owned, parts["callbacks"], copy=False)
        twin._become(made)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        reduced = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        return given_away(reduced) if type(self).__setstate__ is Keeping.__setstate__ else reduced

    def __getstate__(self) -> dict[str, Any]:
        with self.network.gate.reading("pickle"):
            fields = _carried.saved_fields(cast(TrainerLike, self))
            return self._state(self.network.pickled_arrays(fields)) | WRITTEN

    def _state(self, network_arrays: Mapping[str, Any]) -> dict[str, Any]:
        self._refuse_kept("pickle")
        self.network.check_savable()
        return {
            # With their state: a copy goes on as the original would. No copies, so they are written before
            # the stores, which refuse to be written once a fit has changed either.
            "callbacks": self.callbacks,
            "config": self._config_without_callbacks(pickled=True),
            "arrays": {**self._state_arrays(), **network_arrays},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        with of_version(state):
            parts = _by_owner(state["arrays"], [])
            self._become(self._kind()._build(state["config"], parts, state["callbacks"], copy=False))

    def _become(self, made: Any) -> None:
        """Take over everything of a trainer that nobody else has."""
        self.__dict__.update(made.__dict__)
        if self.state.optimizer_step:
            self.network.trained_by = weakref.ref(self)


class _Owned(NamedTuple):
    """Arrays by their owners; what is no network is small, or stays as it is, and has been read."""

    network: Mapping[str, Array]
    others: Mapping[str, Mapping[str, NDArray[Any]]]


def _by_owner(arrays: Mapping[str, Array], callbacks: Iterable[int]) -> _Owned:
    """Arrays of the state and of each callback; the network takes or refuses all others."""
    owners = ["state", *(f"callbacks.{i}" for i in callbacks)]
    prefixes = {f"{owner}.": owner for owner in owners}
    network: dict[str, Array] = {}
    others: dict[str, dict[str, NDArray[Any]]] = {owner: {} for owner in owners}
    for name, a in arrays.items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is None:
            network[name] = a
        else:
            others[prefixes[prefix]][name.removeprefix(prefix)] = whole(a)
    return _Owned(network, others)
