"""The command line's options: what they are called, what they take, what they say when asked."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rewire import datasets
from rewire._precision import DTYPES
from rewire._registry import folded
from rewire._strategies import LocalSGD, Strategy, Sync
from rewire._version import __version__
from rewire.activations import KINDS, Activation
from rewire.cli._shared import UsageError, read_json
from rewire.connectivity import connectivity_names
from rewire.losses import Contrast, loss_names
from rewire.optim import optimizer_names
from rewire.rewiring import rewiring_names
from rewire.units import hidden_names

__all__ = [
    "Parser",
    "build_parser",
    "coder_options",
    "dotted_assignment",
    "model_options",
    "recipe_options",
    "set_option",
    "value_of",
]

PRESETS = ("set-2018", "tsnn-2021")
MODELS = ("rbm", "autoencoder")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a command away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``rewire``; its namespace has ``command`` and that command's options."""
    parser = Parser(
        prog="rewire",
        description="Train neural networks that are sparse from start to finish, on the CPU you have.",
        epilog="Exit codes: 0 fine, 1 the run failed, 2 wrong usage, 3 a corrupt or unsafe file, "
        "130 interrupted, 129 or 143 hung up or terminated (what was to be saved is saved). "
        "REWIRE_DEBUG=1 shows tracebacks.",
    )
    parser.add_argument("--version", action="version", version=f"rewire {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = _command(commands, "demo", "train on the built-in digits, print a table, write a picture")
    demo.add_argument("--out", default="rewire-demo.png", metavar="FILE", help="(default: %(default)s)")
    demo.add_argument("--seed", type=_whole(0), default=0, help="random seed (default: %(default)s)")
    _threads(demo, "1, which suits networks this small")

    _train(_command(commands, "train", "train a network"))
    _compare(_command(commands, "compare", "train several networks from several seeds, print a table"))

    evaluate = _command(commands, "eval", "measure a saved network")
    evaluate.add_argument("file", metavar="FILE", help="saved by train --save, net.save or trainer.save")
    _import(evaluate)
    _data(evaluate, "what to measure on (default: what it was trained on, unless that was a FILE.npz)")
    evaluate.add_argument("--batch-size", type=_whole(1), help=argparse.SUPPRESS)
    _threads(evaluate)
    _json(evaluate)

    predict = _command(commands, "predict", "predict with a saved network")
    predict.add_argument("file", metavar="FILE", help="saved by train --save, net.save or trainer.save")
    _import(predict)
    _data(predict, "what to predict for: its test set where it has one", required=True)
    predict.add_argument(
        "--out", metavar="FILE", help="write .npz (prediction, output) or .csv; else one prediction a line"
    )
    predict.add_argument("--batch-size", type=_whole(1), help=argparse.SUPPRESS)
    _threads(predict)

    _select(_command(commands, "select", "choose columns of data, without a look at targets"))
    _encode(_command(commands, "encode", "write what hidden neurons make of data, without a look at targets"))

    rules = _command(commands, "rules", "list the rewiring rules, or the options of one")
    rules.add_argument("name", nargs="?", metavar="RULE", help="say all about it")
    _import(rules)

    _command(commands, "info", "show versions, instruction set, threads")

    bench = _command(commands, "bench", "measure the kernels here, for ten seconds")
    bench.add_argument("--width", type=_whole(1), default=1000, help="neurons (default: %(default)s)")
    part = _in_unit(above_zero=True)
    bench.add_argument("--density", type=part, default=0.05, help="of the layer (default: %(default)s)")
    bench.add_argument("--batch-size", type=_whole(1), default=128, help="samples (default: %(default)s)")
    bench.add_argument("--group", type=int, choices=(1, 2, 4, 8), default=4, help="(default: %(default)s)")
    kinds = "float32", "bfloat16"
    bench.add_argument("--dtype", choices=kinds, default=kinds[0], help="of products (default: %(default)s)")
    bench.add_argument("--seconds", type=_number(0), default=10.0, help="in all (default: %(default)s)")
    _threads(bench)
    _json(bench)

    inspect = _command(commands, "inspect", "show and check a saved file")
    inspect.add_argument("file", metavar="FILE")
    _import(inspect)
    _json(inspect)
    return parser


def _train(train: argparse.ArgumentParser) -> None:
    """Options of ``rewire train``. None means "not given": then the preset decides, then the default."""
    _data(train, "what to train on (with --resume: needed again for a FILE.npz)")
    _import(train)
    training = model_options(train)
    training.add_argument(
        "--validation", type=_in_unit(below_one=True), metavar="FRACTION",
        help="hold out this fraction of the training set and follow the accuracy on it; "
        "without, the accuracy on the test set is followed",
    )  # fmt: skip
    _seed(training)
    training.add_argument(
        "--workers", type=_whole(1), metavar="N",
        help="processes that train together, with the bits of one unless --strategy local leaves the number "
        "of trainings to them (default: 1, or those that mpiexec, srun or torchrun has started)",
    )  # fmt: skip
    training.add_argument(
        "--strategy", type=strategy_of, metavar="sync|local[:N[xM]]",
        help="what workers do: every step together (default), or N steps alone (default: 32), and then the "
        "mean of all weights, of M trainings (default: as many as there are workers), which decide the bits; "
        "--resume goes on with it, with at most M workers",
    )  # fmt: skip
    training.add_argument(
        "--timeout", type=_number(0), default=300.0, metavar="SECONDS",
        help="give a worker up after so long without a sign of life (default: 300)",
    )  # fmt: skip
    _threads(training, "see `rewire info`; divided among workers")

    output = train.add_argument_group("output")
    output.add_argument("--save", metavar="FILE", help="save everything, also when interrupted")
    output.add_argument(
        "--save-every", type=_whole(1), metavar="N",
        help="save after every N epochs too: a run that is killed goes on from there with --resume",
    )  # fmt: skip
    output.add_argument("--resume", metavar="FILE", help="go on from a file that --save has made")
    _json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each epoch")


def model_options(train: argparse.ArgumentParser) -> Any:
    """Options of a network and its training, by which `rewire compare` names networks too.

    Each is an option of `rewire.recipe.Recipe` of the same name. Returns the group of training.
    """
    network = train.add_argument_group("network")
    network.add_argument(
        "--hidden", type=_widths, metavar="N,N,...", help="hidden neurons (default: 1000,1000,1000)"
    )
    network.add_argument(
        "--layers", metavar="FILE",
        help="in the place of a perceptron: a JSON list of layers, {\"type\": \"Sparse\", \"n_out\": 100, "
        "\"density\": 0.1}; the last one has as many outputs as the data ask for",
    )  # fmt: skip
    density = _how_many(network, "(default: 20)")
    density.add_argument("--links", type=_whole(1), metavar="N", help="connections of the whole network")
    density.add_argument(
        "--dense", action="store_true", default=None, help="dense layers: the baseline to compare with"
    )
    _choice(
        network, "--distribution", ("erk", "uniform"),
        "how --density or --links is divided: more in small layers, or alike (default: erk)",
    )  # fmt: skip
    _activation(network, hidden_names(), "of hidden layers (default: all-relu)")
    network.add_argument("--slope", type=_number(), help="of all-relu (0.6) or leaky-relu (0.01)")
    _dropout(network, "(default: 0.2; for numbers 0)")
    _init(network, "(default: he)")
    _connectivity(network)
    _group(network, "(default: 4; with --preset 1)")
    _dtype(network)
    _rewiring(train)

    training = train.add_argument_group("training")
    _choice(training, "--preset", PRESETS, "published settings; options given beside it win")
    training.add_argument(
        "--epochs", type=_whole(1), help="in all, counting those of a resumed file (default: 20)"
    )
    training.add_argument(
        "--horizon", type=_whole(1), metavar="N",
        help="epochs of the whole run, where several go on from each other: what fractions of a run, such as "
        "a rule's end=0.75, count by (default: --epochs)",
    )  # fmt: skip
    losses = [name for name in loss_names() if name != Contrast.name]  # of energies, for loops of one's own
    usual = "(default: cross_entropy for classes, mse for numbers, binary_cross_entropy for labels)"
    _registered(training, "--loss", losses, usual)
    training.add_argument(
        "--loss-opt", type=_assignment, action="append", metavar="NAME=VALUE",
        help="option of the loss, such as label_smoothing=0.1 of cross_entropy or delta=0.5 of huber; may be "
        "repeated",
    )  # fmt: skip
    training.add_argument("--batch-size", type=_whole(1), help="(default: 128)")
    training.add_argument(
        "--shards", type=_whole(1), metavar="N",
        help="cut each batch into so many parts, whose gradients are added in a fixed order: bits depend on "
        "it, memory is that of a part (default: 1; with --workers 8)",
    )  # fmt: skip
    _registered(training, "--optimizer", optimizer_names(), "(default: sgd)")
    training.add_argument("--lr", type=_number(0), help="learning rate")
    training.add_argument("--momentum", type=_in_unit(below_one=True), help="of sgd")
    training.add_argument("--nesterov", action="store_true", default=None, help="Nesterov's momentum")
    training.add_argument("--weight-decay", type=_number(0), help="(default: 0)")
    _choice(training, "--decay", ("l2", "decoupled", "per_step"), "what that means in sgd (default: l2)")
    _choice(
        training, "--schedule", ("constant", "cosine", "step"),
        "of the learning rate (default: cosine; with --preset constant)",
    )  # fmt: skip
    training.add_argument(
        "--warmup", type=_whole(0), metavar="EPOCHS",
        help="let the rate rise over the first epochs, before the cosine (default: 0)",
    )  # fmt: skip
    _choice(training, "--average", ("ema", "swa"), "evaluate and predict with averages of weights over steps")
    training.add_argument(
        "--average-opt", type=_assignment, action="append", metavar="NAME=VALUE",
        help="option of the average: decay, begin or every, such as decay=0.99; may be repeated",
    )  # fmt: skip
    training.add_argument("--clip-norm", type=_number(0), help="scale gradients down to this norm")
    _standardize(training)
    _choice(
        training, "--standardize-targets", tuple(YES_OR_NO),
        "bring numbers that are to be predicted to mean 0 and deviation 1, which losses and delta of huber "
        "are counted in; predictions are in their own units (default: yes with mse and huber)",
    )  # fmt: skip
    return training


YES_OR_NO = {"yes": True, "no": False}
STANDARDIZE: dict[str, bool | str] = {**YES_OR_NO, "scale": "scale"}


def recipe_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is given of a network and its training; ``--rewiring-opt fraction=0.3`` is rewiring.fraction."""
    parser = argparse.ArgumentParser(add_help=False)
    model_options(parser)
    set_option(parser)
    found: dict[str, Any] = {}
    for name in [action.dest for action in parser._actions]:
        value = getattr(arguments, name, None)
        if value is None:
            continue
        if name == "set":
            found |= dict(value)
        elif name == "layers":
            found[name] = _layers_of(value)
        elif name == "standardize":
            found[name] = STANDARDIZE[value]
        elif name == "standardize_targets":
            found[name] = YES_OR_NO[value]
        elif name.endswith("_opt"):
            found |= {f"{name.removesuffix('_opt')}.{inner}": each for inner, each in value}
        else:
            found[name] = value
    return found


def _layers_of(path: str) -> list[Any]:
    """Descriptions of layers from a file."""
    found = read_json("--layers", path)
    if not isinstance(found, list):
        raise UsageError(f"--layers {path} must hold a list of layers, each an object with a type")
    return found


def _compare(compare: argparse.ArgumentParser) -> None:
    """Options of ``rewire compare``: which networks, and what they are compared by."""
    compare.epilog = (
        "Example: rewire compare --data digits --hidden 300 --epochs 5 --grid rewiring=static,set,rigl "
        "--grid density=0.02,0.1 --also 'dense: --dense --lr 0.01' --seeds 3 --jobs 2 --save runs.jsonl"
    )
    _data(compare, "what to train on", required=True)
    contenders = compare.add_argument_group("which networks", "beside each other; options further below are "
                                            "common to all of them")  # fmt: skip
    contenders.add_argument(
        "--grid", action="append", metavar="NAME=V,V,...",
        help="an option and its values, such as rewiring=set,rigl or rewiring.fraction=0.1,0.3; every "
        "combination of several is a network. Between semicolons values may hold commas: hidden=300;100,100",
    )  # fmt: skip
    contenders.add_argument(
        "--also",
        action="append",
        metavar="'NAME: OPTIONS'",
        help="one more network, by a name and options of its own, such as 'dense: --dense --lr 0.01'",
    )
    contenders.add_argument(
        "--contenders", metavar="FILE",
        help="a JSON file of names and options: {\"SET\": {\"rewiring\": \"set\"}}; \"layers\" are lists of "
        "{\"type\": \"Sparse\", \"n_out\": 100, ...}",
    )  # fmt: skip
    _import(contenders)
    by = compare.add_argument_group("by what")
    by.add_argument("--seeds", type=_seeds, default=3, metavar="N",
                    help="how many, or which ones between commas (default: 3)")  # fmt: skip
    by.add_argument(
        "--validation",
        type=_in_unit(below_one=True),
        default=0.1,
        metavar="FRACTION",
        help="of the training set, held out to sort by; with 0 the test set is all there is (default: 0.1)",
    )
    by.add_argument("--seconds", metavar="S",
                    help="equal time: seconds of training of each network, or the name of one whose time it "
                    "is")  # fmt: skip
    by.add_argument("--weights", metavar="N",
                    help="equal weights: connections that each may have, or the name of one that has "
                    "them")  # fmt: skip
    by.add_argument("--jobs", type=int, default=1, metavar="N",
                    help="runs at a time, each in a process of its own; -1 for all processors, 0 to stay in "
                    "this one (default: 1)")  # fmt: skip
    _threads(by, "processors divided by --jobs")
    output = compare.add_argument_group("output")
    output.add_argument(
        "--save",
        metavar="FILE",
        help="keep every run as it ends, as JSON lines; given again, go on from there",
    )
    output.add_argument("--plot", metavar="FILE", help="draw accuracy over --over into a picture")
    output.add_argument("--over", choices=("seconds", "weights", "curve"), default="seconds",
                        help="what the picture is over (default: seconds)")  # fmt: skip
    _json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each run")
    model_options(compare)
    set_option(compare)


def _select(select: argparse.ArgumentParser) -> None:
    """Options of ``rewire select``: those of `rewire.QuickSelection` and its autoencoder."""
    select.epilog = (
        "Example: rewire select --data madelon --features 20 --out selected.npz; "
        "rewire train --data selected.npz"
    )
    _samples(select, "what to select columns of")
    _import(select)
    select.add_argument(
        "--features", type=_count_or_part, metavar="N",
        help="how many columns, or what part of them, such as 0.1 (default: half)",
    )  # fmt: skip
    select.add_argument(
        "--runs", type=_whole(1), metavar="N",
        help="autoencoders from other random links, whose strengths are averaged (default: 3)",
    )  # fmt: skip
    coder_options(select, machine=False)
    output = select.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FILE",
        help="write these columns of all samples, and y as it is, to an .npz; or column numbers alone, to a "
        ".csv with their strengths or to a .json; else they are printed",
    )  # fmt: skip
    _json(output)


def _encode(encode: argparse.ArgumentParser) -> None:
    """Options of ``rewire encode``: those of the two estimators that have hidden neurons to show."""
    encode.epilog = (
        "Example: rewire encode --data digits --model rbm --hidden 100 --out encoded.npz; "
        "rewire train --data encoded.npz"
    )
    _samples(encode, "what to encode")
    _import(encode)
    encode.add_argument(
        "--model", type=_word(MODELS), choices=MODELS, required=True,
        help="what learns: a denoising autoencoder, or a restricted Boltzmann machine, whose inputs are "
        "probabilities: features beyond 0 to 1 are brought there by their least and largest training value",
    )  # fmt: skip
    coder_options(encode, machine=True)
    output = encode.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FILE", required=True,
        help="write activations of hidden neurons for all samples, and y as it is, to an .npz",
    )  # fmt: skip
    output.add_argument("--save", metavar="FILE", help="save what has learnt, with the units of its inputs")
    _json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each epoch")


def coder_options(parser: Any, *, machine: bool) -> None:
    """Options of what learns without targets; None means "not given", and then the estimator decides.

    With those of Boltzmann machines beside those of autoencoders, ``machine`` says.
    """

    def usual(coder: str, rbm: str) -> str:
        return f"(default: {coder}; rbm: {rbm})" if machine else f"(default: {coder})"

    network = parser.add_argument_group("network")
    network.add_argument("--hidden", type=_whole(1), metavar="N", help=f"neurons {usual('1000', '256')}")
    density = _how_many(network, usual("13", "11"))
    if machine:
        density.add_argument("--links", type=_whole(1), metavar="N", help="connections of an rbm")
        _connectivity(network)
    _group(network, "(default: 1)")
    _init(network, usual("normal, of deviation 0.1", "0.05"))
    of_it = " of an autoencoder" if machine else ""
    kinds = [name for name in hidden_names() if KINDS.named(name).body is Activation.body]  # no whole layers
    _activation(network, kinds, f"of hidden neurons{of_it} (default: sigmoid)")
    _dropout(network, f"{of_it.lstrip()} (default: 0)".lstrip())
    _dtype(network)
    _rewiring(parser)

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=_whole(1), help=usual("100", "10"))
    training.add_argument("--batch-size", type=_whole(1), help=usual("100", "10"))
    rate = f"learning rate,{of_it} for half the sum of squared errors as in papers"
    training.add_argument("--lr", type=_number(0), help=f"{rate} {usual('0.01', '0.05')}")
    training.add_argument("--momentum", type=_in_unit(below_one=True), help="(default: 0.9)")
    training.add_argument("--weight-decay", type=_number(0), help=usual("1e-5 in every step", "2e-4, l2"))
    training.add_argument(
        "--noise", type=_number(0), metavar="DEVIATION",
        help="of inputs, which an autoencoder learns to take out, in deviations of each feature "
        "(default: 0.2)",
    )  # fmt: skip
    _standardize(training)
    if machine:
        training.add_argument(
            "--gibbs-steps", type=_whole(1), metavar="K", help="of contrastive divergence, CD-k (default: 1)"
        )
        training.add_argument(
            "--persistent", action="store_true", default=None,
            help="let chains of an rbm go on from step to step; they want a smaller rate, some 0.01",
        )  # fmt: skip
    _seed(training)
    _threads(training)


def set_option(parser: Any) -> None:
    """``--set``: what has no option of its own."""
    parser.add_argument(
        "--set",
        type=dotted_assignment,
        action="append",
        metavar="NAME=VALUE",
        help="any other option, such as loss=mse or optimizer.betas=0.9,0.99; may be repeated",
    )


# --- options that several commands have


def _command(commands: Any, name: str, help_: str) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")


def _data(parser: Any, help_: str, required: bool = False) -> None:
    names = ", ".join(datasets.NAMES)
    parser.add_argument(
        "--data",
        metavar="DATA",
        required=required,
        help=f"{help_}: {names} or FILE.npz (arrays X and y; X_test and y_test if there is a test set; "
        "for X also what scipy.sparse.save_npz stores of a CSR matrix). A y of integers, booleans or words "
        "holds classes, one of floating point numbers to predict, columns of 0 and 1 as integers labels; "
        "--loss goes before that: mse, huber and poisson read numbers, cross_entropy reads classes",
    )


def _import(parser: Any) -> None:
    parser.add_argument(
        "--import", dest="modules", action="append", metavar="MODULE",
        help="import a module or a FILE.py first, which runs it: what it registers (activations, rules, "
        "losses, layers, optimizers) can be named; may be repeated",
    )  # fmt: skip


def _samples(parser: Any, help_: str) -> None:
    names = ", ".join(datasets.NAMES)
    parser.add_argument(
        "--data", metavar="DATA", required=True,
        help=f"{help_}: {names} or FILE.npz (array X, or what scipy.sparse.save_npz stores of a CSR matrix); "
        "X alone is learnt from, and X_test treated alike; y and y_test are carried along, where they are",
    )  # fmt: skip


def _how_many(network: Any, usual: str) -> Any:
    """Connections of a network; returns the group of options of which one alone may be given."""
    density = network.add_mutually_exclusive_group()
    words = "epsilon*(n_in+n_out) connections in a layer"
    density.add_argument("--epsilon", type=_number(0), help=f"{words} {usual}")
    density.add_argument("--density", type=_in_unit(above_zero=True),
        help="connections of the whole network, as a fraction of those of a dense one",
    )  # fmt: skip
    return density


def _activation(network: Any, names: Sequence[str], help_: str) -> None:
    _registered(network, "--activation", names, help_)
    network.add_argument(
        "--activation-opt", type=_assignment, action="append", metavar="NAME=VALUE",
        help="option of the activation, such as fraction=0.3 of k-winners; may be repeated",
    )  # fmt: skip


def _dropout(network: Any, usual: str) -> None:
    fraction = _in_unit(below_one=True)
    network.add_argument("--dropout", type=fraction, help=f"after hidden layers {usual}")


def _init(network: Any, usual: str) -> None:
    _choice(network, "--init", ("he", "xavier", "normal"), f"of the weights {usual}")


def _connectivity(network: Any) -> None:
    _registered(network, "--connectivity", connectivity_names(), "where links are at first (default: random)")
    network.add_argument(
        "--connectivity-opt", type=_assignment, action="append", metavar="NAME=VALUE",
        help="option of the connectivity, such as beta=0.5; may be repeated",
    )  # fmt: skip


def _group(network: Any, usual: str) -> None:
    network.add_argument(
        "--group", type=int, choices=(1, 2, 4, 8), help=f"neurons that share their sources {usual}"
    )


def _dtype(network: Any) -> None:
    network.add_argument("--dtype", choices=DTYPES, help="of arithmetic (default: float32)")


def _rewiring(parser: Any) -> None:
    rewiring = parser.add_argument_group("rewiring")
    rewiring.add_argument(
        "--rewiring", type=_word(rewiring_names()), metavar="RULE",
        help=f"set (default), static for none, or {', '.join(_other_rules())}",
    )  # fmt: skip
    rewiring.add_argument(
        "--rewiring-opt", type=_assignment, action="append", metavar="NAME=VALUE",
        help="option of the rule, such as fraction=0.3; may be repeated (`rewire rules RULE` lists them)",
    )  # fmt: skip


def _standardize(training: Any) -> None:
    _choice(
        training, "--standardize", tuple(STANDARDIZE),
        "bring every feature to mean 0 and deviation 1; scale: do not subtract the mean (default: yes)",
    )  # fmt: skip


def _seed(training: Any) -> None:
    training.add_argument(
        "--seed", type=_whole(0), help="of everything random; equal seeds give equal bits (default: 0)"
    )


def _choice(parser: Any, option: str, words: Sequence[str], help_: str) -> None:
    parser.add_argument(option, type=_word(words), choices=words, help=help_)


def _registered(parser: Any, option: str, names: Sequence[str], help_: str) -> None:
    """A word that a registry knows when the option is used: a module may be imported before that."""
    metavar = option.removeprefix("--").upper()
    parser.add_argument(option, type=_word(names), metavar=metavar, help=f"{', '.join(names)}; {help_}")


def _threads(parser: Any, default: str = "see `rewire info`") -> None:
    parser.add_argument("--threads", type=int, metavar="N", help=f"-1 for all (default: {default})")


def _json(parser: Any) -> None:
    parser.add_argument("--json", metavar="FILE", help="write what was measured, as JSON")


# --- types: the function's name is what argparse shows in its error


def strategy_of(text: str) -> Strategy:
    """What ``sync``, ``local``, ``local:N`` or ``local:NxM`` names: N steps alone, of M trainings."""
    name, colon, numbers = text.partition(":")
    if name == "sync" and not colon:
        return Sync()
    if name == "local":
        steps, by, trainings = numbers.partition("x")
        try:
            every = _whole(1)(steps) if colon else 32
            return LocalSGD(every, workers=_whole(1)(trainings) if by else None)
        except (ValueError, argparse.ArgumentTypeError):
            pass
    raise argparse.ArgumentTypeError(
        f"must be sync, local, local:N or local:NxM with N and M >= 1, got {text}"
    )


def _whole(low: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {low}, got {text}")
        return value

    return integer


def _number(low: float | None = None) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not abs(value) < float("inf") or (low is not None and value < low):
            bound = "" if low is None else f" >= {low:g}"
            raise argparse.ArgumentTypeError(f"must be a number{bound}, got {text}")
        return value

    return number


def _count_or_part(text: str) -> int | float:
    """``20``, or ``0.1`` of all."""
    with contextlib.suppress(ValueError):
        if (count := int(text)) >= 1:
            return count
    with contextlib.suppress(ValueError):
        if 0.0 < (part := float(text)) < 1.0:
            return part
    raise argparse.ArgumentTypeError(
        f"must be a whole number >= 1, or a part between 0 and 1 such as 0.1, got {text}"
    )


def _in_unit(*, below_one: bool = False, above_zero: bool = False) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not (0 < value < 1 or (value == 1 and not below_one) or (value == 0 and not above_zero)):
            begin, end = "(" if above_zero else "[", ")" if below_one else "]"
            raise argparse.ArgumentTypeError(f"must be a number in {begin}0, 1{end}, got {text}")
        return value

    return number


def _other_rules() -> list[str]:
    return [name for name in rewiring_names() if name not in ("set", "static")]


def _widths(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",")]
    except ValueError:
        widths = [0]
    if min(widths) < 1:
        raise argparse.ArgumentTypeError(f"must be whole numbers >= 1 separated by commas, got {text!r}")
    return widths


def _word(known: Sequence[str]) -> Callable[[str], str]:
    """The word that is meant, whatever the case, hyphens and underscores; any other as it is."""
    words = {folded(name): name for name in known}
    return lambda text: words.get(folded(text), text)


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise argparse.ArgumentTypeError(f"must look like fraction=0.3, got {text!r}")
    return name, value_of(value)


def dotted_assignment(text: str) -> tuple[str, Any]:
    """``rewiring.fraction=0.3``."""
    name, equals, value = text.partition("=")
    if not (all(part.isidentifier() for part in name.split(".")) and equals and value):
        raise argparse.ArgumentTypeError(f"must look like rewiring.fraction=0.3, got {text!r}")
    return name, value_of(value)


def _seeds(text: str) -> int | list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = [-1]
    if min(found) < 0 or found == [0]:
        raise argparse.ArgumentTypeError(f"must be a number >= 1, or seeds between commas, got {text!r}")
    return found[0] if len(found) == 1 else found


def value_of(text: str) -> Any:
    """A number, several of them between commas, in brackets or not, True, False or None; else the words."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    inner = text[1:-1] if text[0] + text[-1] in ("()", "[]") else text
    parts = [_number_or_text(part.strip()) for part in inner.split(",")]
    if parts[-1] == "":
        parts.pop()
    if ("," in text or inner != text) and not any(isinstance(part, str) for part in parts):
        return parts
    return _number_or_text(text)


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text
