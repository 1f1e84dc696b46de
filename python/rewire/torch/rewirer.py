"""Rules of rewire on the sparse layers of a model of torch, with the optimizer's state carried along."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from rewire import _checks
from rewire._warn import warn
from rewire.rewiring import RewiringRecord, Rule, TrainingProgress
from rewire.threads import resolve
from rewire.torch import _optimizers, _ranks
from rewire.torch._averages import checked_averages, counterparts, follow
from rewire.torch._models import refuse_outdated, refuse_sharded, sparse_layers, unwrapped
from rewire.torch._probes import NotFiniteError, probe
from rewire.torch._rules import apart, check_rule, rule_of, warn_of_misfit, with_arrays, with_tensors
from rewire.torch._structures import Watch
from rewire.torch._twins import Twin
from rewire.torch.linear import SparseLinear
from rewire.torch.wiring import Wiring, checked_wiring

__all__ = ["Rewirer"]

VERSION = 1  # of states


class Rewirer:
    """Rewires the :class:`SparseLinear` layers of a model while it trains, by any rule of rewire.

    Call :meth:`step` after every step of the optimizer, and :meth:`end_epoch` after every epoch if the rule
    counts epochs.

    Parameters
    ----------
    model : nn.Module
        Also a compiled one, or one in ``DistributedDataParallel``. Layers whose weights are frozen, or not in
        this optimizer, take no part.
    optimizer : torch.optim.Optimizer
        What it keeps for every weight moves with the links; new links begin without.
    rule : str, dict, Rule or callable
        As the argument ``rewiring`` of :class:`rewire.Trainer`: ``"set"``, ``"rigl"``, ...
    total_steps, epochs : int, optional
        The length of the run, for rules with parameters that are fractions of it. At the end of the run
        nothing is rewired any more.
    wiring : list of str, or several of these, optional
        Names of layers that feed each other, in a row, with nothing between two of them but activations,
        dropout and norms: for rules that follow paths, such as ``"cht"``.
    seed : int
        Names the random numbers of the rule.
    averages : nn.Module, or list or nn.ModuleList of them
        Copies of the model that average its weights, such as ``torch.optim.swa_utils.AveragedModel``: their
        links become those of the model whenever these change, and means stay with their links. One that
        is made later is put into the list of this name.
    process_group : optional
        Of processes that train one model, where it is not wrapped in ``DistributedDataParallel``, which says
        so itself.
    **options
        Of the rule, when it is given by name: ``every=100``, ``fraction=0.3``.

    Attributes
    ----------
    rule : Rule
    steps, epoch, rewirings : int
        Done so far.

    Raises
    ------
    TypeError, ValueError
        For wrong arguments; if the rule counts by fractions of a run whose length nobody has said, counts
        epochs without ``epochs``, or follows paths without ``wiring``; for an optimizer that was made before
        the sparse layers; for weights that are computed from others, or stand in two layers.
    NotImplementedError
        For optimizers whose state cannot follow links (LBFGS, Muon), for FSDP, and for
        ``ImportancePruning(variant="corrected")``, which makes layers narrower.

    Warns
    -----
    UserWarning
        If the rule's period is so long that it never acts within ``total_steps``, or ``epochs``.

    Notes
    -----
    *When.* A rewiring that is due before step n + 1 is made by the :meth:`step` after the n-th; one that is
    due before the first step, by the first call. ``skip_step`` of a rule has no effect.

    *Gradients.* Rules that look at gradients look at those of the last backward passes since the last
    :meth:`step`, of all samples, and never make anything of the size of a dense layer. One step's batch
    stands for however many a rule asks for. Under gradient accumulation all of its parts are looked at.

    *Sizes.* Where a rule changes the number of links, or ``out_features`` is no multiple of ``group`` (slots
    of the last group hold fewer links each), ``weight`` becomes longer or shorter in place. While the last
    loss is still there, as in most loops, that cannot be: then the layer, and the optimizer, get another
    Parameter, with the hooks of the old one.

    *Several processes.* Equal on all ranks in the beginning, links stay equal: samples are gathered for rules
    that look at gradients. ``DistributedDataParallel`` cannot take weights of another size; for rules that
    change sizes give the inner module with ``process_group=``, and wrap the model anew after each record that
    :meth:`step` gives.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import Rewirer, sparsify
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    >>> report = sparsify(model, density=0.2, skip="2", seed=0)
    >>> optimizer = torch.optim.AdamW(model.parameters())
    >>> rewirer = Rewirer(model, optimizer, "rigl", every=2, total_steps=100)
    >>> for step in range(3):
    ...     loss = model(torch.randn(8, 64)).square().mean()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     record = rewirer.step()
    >>> rewirer.rewirings
    1
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        rule: Any = "set",
        *,
        total_steps: int | None = None,
        epochs: int | None = None,
        wiring: Any = None,
        seed: int = 0,
        averages: Any = (),
        process_group: Any = None,
        **options: Any,
    ) -> None:
        _checks.one_of_types("model", model, nn.Module, "an nn.Module")
        self.optimizer = _optimizers.check_optimizer(optimizer)
        inner, found = unwrapped(model)
        refuse_sharded(model)
        refuse_outdated(model)
        self._wrapped = found is not None
        self._group = found if process_group is None else process_group
        self.model = inner
        self.rule = rule_of(rule, options)
        self.seed = _checks.integer("seed", seed, low=0, high=2**64 - 1)
        self.total_steps = None if total_steps is None else _checks.integer("total_steps", total_steps, low=1)
        self.epochs = None if epochs is None else _checks.integer("epochs", epochs, low=1)
        self.steps = self.epoch = self.rewirings = 0
        self._acted: int | None = None  # the step before which the last rewiring was
        self._memory: dict[str, Any] = {}
        self._twins: dict[str, Twin] = {}
        self._loaded: dict[str, dict[str, Any]] = {}  # fields from a state, for twins to come
        layers = self.layers()
        _optimizers.check_layers(self.model, layers)
        self.averages = checked_averages(averages)
        counterparts(self.averages, layers)
        self._chains = None if wiring is None else checked_wiring(wiring, list(layers))
        check_rule(self.rule, self.total_steps, self.epochs, wired=wiring is not None)
        warn_of_misfit(self.rule, self.total_steps, self.epochs)
        self._prepared()
        self._follows = type(self.rule).stepped is not Rule.stepped or len(self.rule.parts()) > 1
        self._watch()

    # --- what there is --------------------------------------------------------------------

    @property
    def averages(self) -> list[nn.Module]:
        """The averages that follow; another one is appended, or put here as the argument of this name."""
        return self._averages

    @averages.setter
    def averages(self, averages: Any) -> None:
        self._averages = checked_averages(averages)

    def layers(self) -> dict[str, SparseLinear]:
        """The layers that take part, by name: those whose weights the optimizer trains now."""
        return _optimizers.layers_of(self.model, self.optimizer)

    def _progress(self, steps: int, epoch: int, epoch_begins: bool) -> TrainingProgress:
        rate = float(self.optimizer.param_groups[0]["lr"])
        return TrainingProgress(epoch, steps, epoch_begins, self.epochs or 0, self.total_steps or 0, rate)

    def _due(self, progress: TrainingProgress) -> bool:
        if self.total_steps is not None and progress.step >= self.total_steps:
            return False
        due = self.rule.due(progress) or self.rule.overdue(progress, self._memory)
        return due and not self._resting()

    def _resting(self) -> bool:
        """Whether all sparse layers are frozen, as in a phase that trains the head alone."""
        layers = sparse_layers(self.model).values()
        return bool(layers) and not any(layer.weight.requires_grad for layer in layers)

    # --- steps ------------------------------------------------------------------------------

    def step(self) -> RewiringRecord | None:
        """After a step of the optimizer: rewire if that is due.

        Before the optimizer's step it would take away the gradients that this one is to use: a rewiring gives
        them up. Where a rule looks at gradients and these are infinite or NaN, as before a step that
        ``GradScaler`` skips, the rewiring is left out with a RuntimeWarning.

        Returns
        -------
        RewiringRecord or None
            What was dropped and grown, by the names of layers; None if nothing was due.

        Raises
        ------
        RuntimeError
            If the rule looks at gradients, and there was no backward pass since the last call; if ranks have
            chosen different links.
        NotImplementedError
            If the optimizer keeps state that cannot follow links, or ``DistributedDataParallel`` would get
            weights of another size. The model is as it was.
        """
        with torch.inference_mode(False):
            record = None
            begin = self._progress(0, self.epoch, True)
            if self.steps == 0 and self._acted is None and self._due(begin):
                record = self._act_if_finite(begin)
            self.steps += 1
            self._follow()
            if record is None and self._due(self._progress(self.steps, self.epoch, False)):
                record = self._act_if_finite(self._progress(self.steps, self.epoch, False))
            self._watch()
            return record

    def end_epoch(self, *, last: bool = False) -> RewiringRecord | None:
        """After the last step of an epoch: rewire if a rule that counts epochs says so.

        Parameters
        ----------
        last : bool
            Whether the run ends, as it does after ``epochs`` epochs: a rule with ``last_epoch="remove"`` then
            removes links without regrowth, and others do nothing.
        """
        last = _checks.boolean("last", last)
        self.epoch += 1
        progress, record = self._progress(self.steps, self.epoch, True), None
        with torch.inference_mode(False):
            if last or (self.epochs is not None and self.epoch >= self.epochs):
                return self._act(progress, regrow=False) if self.rule.last_epoch == "remove" else None
            if self._acted != self.steps and self._due(progress):
                record = self._act_if_finite(progress)
            self._watch()
        return record

    def rewire(self) -> RewiringRecord:
        """Rewire now, whether that is due or not; for schedules of one's own.

        A rule that looks at gradients needs :meth:`watch` before the backward pass, and raises
        FloatingPointError where they are not finite.
        """
        with torch.inference_mode(False):
            return self._act(self._progress(self.steps, self.epoch, self.steps == 0))

    def watch(self) -> None:
        """Keep inputs and gradients of the next backward passes, until :meth:`step` or :meth:`rewire`."""
        for module in self.layers().values():
            module._hold()
            assert module._structure is not None
            module._structure.watched[self] = Watch()

    def _watch(self) -> None:
        """Keep them if the coming step, or the epoch's end after it, may be followed by a rewiring."""
        if not self.rule.probe_batches:
            return
        coming = self.steps + 1
        begins = self.steps == 0 and self._acted is None
        wanted = (
            self._due(self._progress(coming, self.epoch, False))
            or self._due(self._progress(coming, self.epoch + 1, True))
            or (begins and self._due(self._progress(0, self.epoch, True)))
        )
        for module in self.layers().values():
            if (structure := module._structure) is None:
                continue
            if wanted:
                structure.watched.setdefault(self, Watch()).over = True
            else:
                structure.watched.pop(self, None)

    # --- twins --------------------------------------------------------------------------------

    def _prepared(self) -> list[Twin]:
        """A twin of every layer, with its weights of now and the rule's fields."""
        found, kept = {}, self._twins
        for number, (name, module) in enumerate(self.layers().items()):
            twin = kept.get(name)
            if twin is None or twin.module is not module or not twin.fits():
                twin = Twin(name, module, number)
                for field, values in self._loaded.get(name, {}).items():
                    twin.restore(field, self.rule.fields[field], values)
            found[name] = twin
        self._loaded = {}
        fresh = any(twin is not kept.get(name) for name, twin in found.items())
        twins = list(found.values())
        base = float(self.optimizer.param_groups[0]["lr"])
        for twin in twins:
            group = _optimizers.group_of(self.optimizer, twin.module.weight)
            twin.parameter.rate = float(group["lr"]) / base if group is not None and base > 0.0 else 1.0
        if fresh:
            self.rule.prepare([twin.parameter for twin in twins], self._wire(twins))
        for twin in twins:
            twin.read_weights()
        self._twins = found
        return twins

    def _wire(self, twins: list[Twin]) -> Any:
        """The network of these twins; None unless somebody has said how they are wired."""
        return None if self._chains is None else Wiring(self._chains, [twin.parameter for twin in twins])

    def _let_go(self) -> None:
        """Keep twins only for what lives in them."""
        if not self.rule.fields and not self._follows:
            self._twins = {}

    def _follow(self) -> None:
        """What a rule does after every step of the optimizer."""
        if not self._follows:
            return
        twins = self._prepared()
        progress = self._progress(self.steps, self.epoch, False)
        self.rule.stepped(
            [twin.parameter for twin in twins], progress, self._threads(), seed=self.seed,
            network=self._wire(twins),
        )  # fmt: skip
        others = counterparts(self.averages, self.layers())
        for twin in twins:
            twin.write_weights()
            for other in others[twin.name]:
                other.mask = twin.mask()

    def _threads(self) -> int:
        return resolve(torch.get_num_threads())

    # --- one rewiring -------------------------------------------------------------------------

    def _act(self, progress: TrainingProgress, *, regrow: bool = True) -> RewiringRecord:
        """Rewire all layers, or nothing has changed."""
        layers = self.layers()
        _optimizers.check_layers(self.model, layers)
        others = counterparts(self.averages, layers)
        memory, aside = apart(self._absent(), copy.deepcopy(self._memory))
        for name, module in layers.items():
            _optimizers.check_state(self.optimizer, module.weight, name)
        seen = None
        if self.rule.probe_batches and regrow:
            seen = probe(self.rule.label, layers, self, self._group, self._threads())
        twins = self._prepared()
        try:
            for twin in twins:
                twin.number_slots(self.optimizer.state.get(twin.module.weight, {}))
            record = self.rule.rewire(
                [twin.parameter for twin in twins], progress, self.rewirings + 1, self._threads(),
                seed=self.seed, network=self._wire(twins), regrow=regrow, memory=memory, probe=seen,
            )  # fmt: skip
            origins = [twin.take_numbers() for twin in twins]
            self._check_commit(twins)
        except BaseException:
            self._loaded = self._fields_before(twins)
            self._twins = {}
            raise
        for twin, origin in zip(twins, origins, strict=True):
            self._take_over(twin, origin)
            for other in others[twin.name]:
                follow(other, twin.module, origin)
        for entry, kept in aside.items():
            memory[entry] = {**memory.get(entry, {}), **kept}
        self._memory, self.rewirings, self._acted = memory, self.rewirings + 1, self.steps
        self._let_go()
        for module in self.layers().values():
            if module._structure is not None:
                module._structure.watched.pop(self, None)
        return record

    def _act_if_finite(self, progress: TrainingProgress) -> RewiringRecord | None:
        """Rewire, unless the gradients that a rule looks at are not finite: then warn."""
        try:
            return self._act(progress)
        except NotFiniteError as error:
            warn(f"{error}: left out at step {self.steps}", RuntimeWarning)
            return None

    def _absent(self) -> set[str]:
        """Names of sparse layers that take no part now, such as frozen ones."""
        return sparse_layers(self.model).keys() - self.layers().keys()

    def _fields_before(self, twins: list[Twin]) -> dict[str, dict[str, Any]]:
        """The rule's fields of twins whose links are still those of their modules."""
        names = set(self.rule.fields)
        found: dict[str, dict[str, Any]] = {}
        for twin in twins:
            twin.take_numbers()
            if twin.fits():
                found[twin.name] = {name: kept for name, kept in twin.fields().items() if name in names}
        return found

    def _check_commit(self, twins: list[Twin]) -> None:
        """Refuse what the wrapper cannot take, and links that differ between ranks."""
        for twin in twins:
            slots, before = twin.parameter.core.slots, len(twin.module.sources)
            if self._wrapped and slots != before:
                module = twin.module
                ragged = (
                    f" (any rule does where {module.out_features} outputs are no multiple of "
                    f"group={module.group}: leave such a layer dense, or take a group that divides them)"
                    if module.out_features % module.group
                    else ""
                )
                raise NotImplementedError(
                    f"rewiring {self.rule.label} changes the weights of {twin.name} from {before} slots to "
                    f"{slots}{ragged}, and DistributedDataParallel has buffers of the old sizes: give "
                    "Rewirer the inner module with process_group=, and wrap the model anew after each record"
                )
        if self._group is not None:
            arrays: list[Any] = []
            for twin in twins:
                core = twin.parameter.core
                arrays += [core.indptr(), core.sources(), core.get_field("weight")]
            _ranks.check_equal(arrays, self._group)

    def _take_over(self, twin: Twin, origin: Any) -> None:
        """Give module and optimizer what a twin has become."""
        core, module, old = twin.parameter.core, twin.module, twin.module.weight
        values = twin.trained()
        state = _optimizers.move_state(self.optimizer, old, origin, values)
        other = module._relink(torch.from_numpy(core.indptr()), torch.from_numpy(core.sources()), values)
        if other:
            _optimizers.replace_parameter(self.optimizer, old, module.weight)
        if state:
            self.optimizer.state[module.weight] = state
        module.mask = twin.mask()

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on with the same bits, beside the states of model and optimizer.

        Plain values and tensors: ``torch.load`` reads them with ``weights_only=True``. Load it after the
        states of model and optimizer.
        """
        names = set(self.rule.fields)
        fields = dict(self._loaded)
        for name, twin in self._twins.items():
            fields[name] = {field: kept for field, kept in twin.fields().items() if field in names}
        return {
            "version": VERSION,
            "rule": self.rule.remembers_as,
            "steps": self.steps,
            "epoch": self.epoch,
            "rewirings": self.rewirings,
            "acted": self._acted,
            "memory": with_tensors(self._memory),
            "fields": fields,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises
        ------
        TypeError, ValueError, KeyError
            For the state of another rule or version, or one that does not fit the model, which must have its
            own state by then.
        """
        known = ("version", "rule", "steps", "epoch", "rewirings", "acted", "memory", "fields")
        _checks.entries("state", state, known)
        if state["version"] != VERSION:
            raise ValueError(f"state must be of version {VERSION}, got {state['version']!r}")
        if state["rule"] != self.rule.remembers_as:
            raise ValueError(f"state must be of rule {self.rule.remembers_as!r}, got {state['rule']!r}")
        counts = {
            name: _checks.integer(f"state[{name!r}]", state[name], low=0)
            for name in ("steps", "epoch", "rewirings")
        }
        memory = with_arrays(dict(state["memory"]))
        here, _ = apart(self._absent(), memory)
        layers = self.layers()
        for name, kept in state["fields"].items():
            _checks.choice("a layer of state['fields']", name, list(layers))
            for field in kept:
                _checks.choice("a field of the state", field, list(self.rule.fields))
        before = self._twins
        self._twins, self._loaded = {}, dict(state["fields"])
        try:
            parameters = [twin.parameter for twin in self._prepared()]
            self.rule.check_state(parameters, here, counts["steps"])
        except BaseException:
            self._twins, self._loaded = before, {}
            raise
        self.steps, self.epoch, self.rewirings = counts.values()
        self._acted = None if state["acted"] is None else int(state["acted"])
        self._memory = memory
        self._let_go()
        self._watch()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy looks at backward passes as well."""
        self.__dict__.update(state)
        self._watch()

    def __repr__(self) -> str:
        return (
            f"Rewirer({len(self.layers())} layers, {self.rule!r}: {self.steps} steps, "
            f"{self.rewirings} rewirings)"
        )
