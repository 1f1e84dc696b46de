"""The command line's options: what they are called, what they take, what they say when asked."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from rewire import datasets
from rewire._version import __version__
from rewire.activations import KINDS, Activation
from rewire.cli._common import (
    STANDARDIZE,
    YES_OR_NO,
    add_activation,
    add_choice,
    add_command,
    add_connectivity,
    add_data,
    add_density,
    add_dropout,
    add_dtype,
    add_group,
    add_imports,
    add_init,
    add_json,
    add_registered,
    add_rewiring,
    add_samples,
    add_seed,
    add_standardize,
    add_threads,
)
from rewire.cli._shared import UsageError, read_json
from rewire.cli._strategy import add_strategy
from rewire.cli._types import (
    assignment,
    count_or_part,
    dotted_assignment,
    in_unit,
    number,
    seeds,
    whole,
    widths,
    word,
)
from rewire.losses import Contrast, loss_names
from rewire.optim import optimizer_names
from rewire.units import hidden_names

__all__ = ["Parser", "build_parser", "coder_options", "model_options", "recipe_options", "set_option"]

PRESETS = ("set-2018", "tsnn-2021")
MODELS = ("rbm", "autoencoder")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a command away."""

    def error(self, message: str) -> NoReturn:
        what, _, words = message.partition("unrecognized arguments: ")
        if not what and words.lower().endswith(datasets.FILES):
            message += "; train and eval take many files by a pattern in quotes, --data 'DIR/*.parquet'"
        elif words in datasets.NAMES:
            message += f"; data are named by --data {words}"
        elif words.startswith(("--device", "--gpu", "--cuda")):
            message += "; rewire runs on the CPU, on --threads of its cores"
        elif words.startswith("--class-weight"):
            message += "; it is --loss-opt class_weight=balanced here"
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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = add_command(commands, "demo", "train on the built-in digits, print a table, write a picture")
    demo.add_argument("--out", default="rewire-demo.png", metavar="FILE", help="(default: %(default)s)")
    demo.add_argument("--seed", type=whole(0), default=0, help="random seed (default: %(default)s)")
    add_threads(demo, "1, which suits networks this small")

    _train(add_command(commands, "train", "train a network"))
    _compare(add_command(commands, "compare", "train several networks from several seeds, print a table"))

    evaluate = add_command(commands, "eval", "measure a saved network")
    evaluate.add_argument("file", metavar="FILE", help="saved by train --save, net.save or trainer.save")
    add_imports(evaluate)
    add_data(evaluate, "what to measure on (default: what it was trained on, unless that was a FILE.npz)")
    evaluate.add_argument("--batch-size", type=whole(1), help=argparse.SUPPRESS)
    add_threads(evaluate)
    add_json(evaluate)

    predict = add_command(commands, "predict", "predict with a saved network")
    predict.add_argument("file", metavar="FILE", help="saved by train --save, net.save or trainer.save")
    add_imports(predict)
    add_data(predict, "what to predict for: its test set where it has one", required=True)
    predict.add_argument(
        "--out", metavar="FILE", help="write .npz (prediction, output) or .csv; else one prediction a line"
    )
    predict.add_argument("--batch-size", type=whole(1), help=argparse.SUPPRESS)
    add_threads(predict)

    _select(add_command(commands, "select", "choose columns of data, without a look at targets"))
    _encode(
        add_command(commands, "encode", "write what hidden neurons make of data, without a look at targets")
    )

    rules = add_command(commands, "rules", "list the rewiring rules, or the options of one")
    rules.add_argument("name", nargs="?", metavar="RULE", help="say all about it")
    add_imports(rules)

    add_command(commands, "info", "show versions, instruction set, threads")

    bench = add_command(commands, "bench", "measure the kernels here, for ten seconds")
    bench.add_argument("--width", type=whole(1), default=1000, help="neurons (default: %(default)s)")
    part = in_unit(above_zero=True)
    bench.add_argument("--density", type=part, default=0.05, help="of the layer (default: %(default)s)")
    bench.add_argument("--batch-size", type=whole(1), default=128, help="samples (default: %(default)s)")
    bench.add_argument("--group", type=int, choices=(1, 2, 4, 8), default=4, help="(default: %(default)s)")
    kinds = "float32", "bfloat16"
    bench.add_argument("--dtype", choices=kinds, default=kinds[0], help="of products (default: %(default)s)")
    bench.add_argument("--seconds", type=number(0), default=10.0, help="in all (default: %(default)s)")
    add_threads(bench)
    add_json(bench)

    inspect = add_command(commands, "inspect", "show and check a saved file")
    inspect.add_argument("file", metavar="FILE")
    add_imports(inspect)
    add_json(inspect)
    return parser


def _train(train: argparse.ArgumentParser) -> None:
    """Options of ``rewire train``. None means "not given": then the preset decides, then the default."""
    add_data(train, "what to train on (with --resume: needed again for a FILE.npz)")
    add_imports(train)
    training = model_options(train)
    training.add_argument(
        "--validation", type=in_unit(below_one=True), metavar="FRACTION",
        help="hold out this fraction of the training set and follow the accuracy on it; "
        "without, the accuracy on the test set is followed",
    )  # fmt: skip
    add_seed(training)
    training.add_argument(
        "--workers", type=whole(1), metavar="N",
        help="processes that train together, with the bits of one unless --strategy leaves the number of "
        "trainings to them (default: 1, or those that mpiexec, srun or torchrun has started)",
    )  # fmt: skip
    add_strategy(training)
    training.add_argument(
        "--timeout", type=number(0), default=300.0, metavar="SECONDS",
        help="give a worker up after so long without a sign of life (default: 300)",
    )  # fmt: skip
    add_threads(training, "see `rewire info`; divided among workers")

    output = train.add_argument_group("output")
    output.add_argument("--save", metavar="FILE", help="save everything, also when interrupted")
    output.add_argument(
        "--save-every", type=whole(1), metavar="N",
        help="save after every N epochs too: a run that is killed goes on from there with --resume",
    )  # fmt: skip
    output.add_argument("--resume", metavar="FILE", help="go on from a file that --save has made")
    add_json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each epoch")


def model_options(train: argparse.ArgumentParser) -> Any:
    """Options of a network and its training, by which `rewire compare` names networks too.

    Each is an option of `rewire.recipe.Recipe` of the same name. Returns the group of training.
    """
    network = train.add_argument_group("network")
    network.add_argument(
        "--hidden", type=widths, metavar="N,N,...", help="hidden neurons (default: 1000,1000,1000)"
    )
    network.add_argument(
        "--layers", metavar="FILE",
        help="in the place of a perceptron: a JSON list of layers, {\"type\": \"Sparse\", \"n_out\": 100, "
        "\"density\": 0.1}; the last one has as many outputs as the data ask for",
    )  # fmt: skip
    density = add_density(network, "(default: 20)")
    density.add_argument("--links", type=whole(1), metavar="N", help="connections of the whole network")
    density.add_argument(
        "--dense", action="store_true", default=None, help="dense layers: the baseline to compare with"
    )
    add_choice(
        network, "--distribution", ("erk", "uniform"),
        "how --density or --links is divided: more in small layers, or alike (default: erk)",
    )  # fmt: skip
    add_activation(network, hidden_names(), "of hidden layers (default: all-relu)")
    network.add_argument("--slope", type=number(), help="of all-relu (0.6) or leaky-relu (0.01)")
    add_dropout(network, "(default: 0.2; for numbers 0)")
    add_init(network, "(default: he; for numbers smaller)")
    add_connectivity(network)
    add_group(network, "(default: 4; with --preset 1)")
    add_dtype(network)
    add_rewiring(train)

    training = train.add_argument_group("training")
    add_choice(training, "--preset", PRESETS, "published settings; options given beside it win")
    training.add_argument(
        "--epochs", type=whole(1), help="in all, counting those of a resumed file (default: 20)"
    )
    training.add_argument(
        "--horizon", type=whole(1), metavar="N",
        help="epochs of the whole run, where several go on from each other: what fractions of a run, such as "
        "a rule's end=0.75, count by (default: --epochs)",
    )  # fmt: skip
    losses = [name for name in loss_names() if name != Contrast.name]  # of energies, for loops of one's own
    usual = "(default: cross_entropy for classes, mse for numbers, binary_cross_entropy for labels)"
    add_registered(training, "--loss", losses, usual)
    training.add_argument(
        "--loss-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the loss, such as label_smoothing=0.1 or class_weight=balanced of cross_entropy "
        "(which counts the samples of --validation, too), or "
        "delta=0.5 of huber; may be repeated",
    )  # fmt: skip
    training.add_argument(
        "--batch-size", type=whole(1),
        help="samples of a step (default: 128; up to three layers of ReLUs on fewer than 3,840 samples of "
        "classes, without --init and --layers, 64, 32 or 16)",
    )  # fmt: skip
    training.add_argument(
        "--shards", type=whole(1), metavar="N",
        help="cut each batch into so many parts, whose gradients are added in a fixed order: bits depend on "
        "it, memory is that of a part (default: 1; with --workers 8)",
    )  # fmt: skip
    add_registered(training, "--optimizer", optimizer_names(), "(default: sgd)")
    training.add_argument("--lr", type=number(0), help="learning rate")
    training.add_argument("--momentum", type=in_unit(below_one=True), help="of sgd")
    training.add_argument("--nesterov", action="store_true", default=None, help="Nesterov's momentum")
    training.add_argument("--weight-decay", type=number(0), help="(default: 0)")
    add_choice(training, "--decay", ("l2", "decoupled", "per_step"), "what that means in sgd (default: l2)")
    add_choice(
        training, "--schedule", ("constant", "cosine", "step"),
        "of the learning rate (default: cosine; with --preset constant)",
    )  # fmt: skip
    training.add_argument(
        "--warmup", type=whole(0), metavar="EPOCHS",
        help="let the rate rise over the first epochs, before the cosine (default: 0)",
    )  # fmt: skip
    training.add_argument(
        "--warmup-to", type=number(1), metavar="K",
        help="let it rise from --lr to K times as much, a little in every step, as large batches of many "
        "workers want it, and be multiplied with --schedule meanwhile",
    )  # fmt: skip
    add_choice(
        training, "--average", ("ema", "swa"), "evaluate and predict with averages of weights over steps"
    )
    training.add_argument(
        "--average-opt", type=assignment, action="append", metavar="NAME=VALUE",
        help="option of the average: decay, begin or every, such as decay=0.99; may be repeated",
    )  # fmt: skip
    training.add_argument("--clip-norm", type=number(0), help="scale gradients down to this norm")
    add_standardize(training)
    add_choice(
        training, "--standardize-targets", tuple(YES_OR_NO),
        "bring numbers that are to be predicted to mean 0 and deviation 1, which losses and delta of huber "
        "are counted in; predictions are in their own units (default: yes with mse and huber)",
    )  # fmt: skip
    return training


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
    add_data(compare, "what to train on", required=True)
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
    add_imports(contenders)
    by = compare.add_argument_group("by what")
    by.add_argument("--seeds", type=seeds, default=3, metavar="N",
                    help="how many, or which ones between commas (default: 3)")  # fmt: skip
    by.add_argument(
        "--validation",
        type=in_unit(below_one=True),
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
    add_threads(by, "processors divided by --jobs")
    output = compare.add_argument_group("output")
    output.add_argument(
        "--save",
        metavar="FILE",
        help="keep every run as it ends, as JSON lines; given again, go on from there",
    )
    output.add_argument("--plot", metavar="FILE", help="draw accuracy over --over into a picture")
    output.add_argument("--over", choices=("seconds", "weights", "curve"), default="seconds",
                        help="what the picture is over (default: seconds)")  # fmt: skip
    add_json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each run")
    model_options(compare)
    set_option(compare)


def _select(select: argparse.ArgumentParser) -> None:
    """Options of ``rewire select``: those of `rewire.QuickSelection` and its autoencoder."""
    select.epilog = (
        "Example: rewire select --data madelon --features 20 --out selected.npz; "
        "rewire train --data selected.npz"
    )
    add_samples(select, "what to select columns of")
    add_imports(select)
    select.add_argument(
        "--features", type=count_or_part, metavar="N",
        help="how many columns, or what part of them, such as 0.1 (default: half)",
    )  # fmt: skip
    select.add_argument(
        "--runs", type=whole(1), metavar="N",
        help="autoencoders from other random links, whose strengths are averaged (default: 3)",
    )  # fmt: skip
    coder_options(select, machine=False)
    output = select.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FILE",
        help="write these columns of all samples, and y as it is, to an .npz; or column numbers alone, to a "
        ".csv with their strengths or to a .json; else they are printed",
    )  # fmt: skip
    add_json(output)


def _encode(encode: argparse.ArgumentParser) -> None:
    """Options of ``rewire encode``: those of the two estimators that have hidden neurons to show."""
    encode.epilog = (
        "Example: rewire encode --data digits --model rbm --hidden 100 --out encoded.npz; "
        "rewire train --data encoded.npz"
    )
    add_samples(encode, "what to encode")
    add_imports(encode)
    encode.add_argument(
        "--model", type=word(MODELS), choices=MODELS, required=True,
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
    add_json(output)
    output.add_argument("--quiet", action="store_true", help="no line for each epoch")


def coder_options(parser: Any, *, machine: bool) -> None:
    """Options of what learns without targets; None means "not given", and then the estimator decides.

    With those of Boltzmann machines beside those of autoencoders, ``machine`` says.
    """

    def usual(coder: str, rbm: str) -> str:
        return f"(default: {coder}; rbm: {rbm})" if machine else f"(default: {coder})"

    network = parser.add_argument_group("network")
    network.add_argument("--hidden", type=whole(1), metavar="N", help=f"neurons {usual('1000', '256')}")
    density = add_density(network, usual("13", "11"))
    if machine:
        density.add_argument("--links", type=whole(1), metavar="N", help="connections of an rbm")
        add_connectivity(network)
    add_group(network, "(default: 1)")
    add_init(network, usual("normal, of deviation 0.1", "0.05"))
    of_it = " of an autoencoder" if machine else ""
    kinds = [name for name in hidden_names() if KINDS.named(name).body is Activation.body]  # no whole layers
    add_activation(network, kinds, f"of hidden neurons{of_it} (default: sigmoid)")
    add_dropout(network, f"{of_it.lstrip()} (default: 0)".lstrip())
    add_dtype(network)
    add_rewiring(parser)

    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=whole(1), help=usual("100", "10"))
    training.add_argument("--batch-size", type=whole(1), help=usual("100", "10"))
    rate = f"learning rate,{of_it} for half the sum of squared errors as in papers"
    training.add_argument("--lr", type=number(0), help=f"{rate} {usual('0.01', '0.05')}")
    training.add_argument("--momentum", type=in_unit(below_one=True), help="(default: 0.9)")
    training.add_argument("--weight-decay", type=number(0), help=usual("1e-5 in every step", "2e-4, l2"))
    training.add_argument(
        "--noise", type=number(0), metavar="DEVIATION",
        help="of inputs, which an autoencoder learns to take out, in deviations of each feature "
        "(default: 0.2)",
    )  # fmt: skip
    add_standardize(training)
    if machine:
        training.add_argument(
            "--gibbs-steps", type=whole(1), metavar="K", help="of contrastive divergence, CD-k (default: 1)"
        )
        training.add_argument(
            "--persistent", action="store_true", default=None,
            help="let chains of an rbm go on from step to step; they want a smaller rate, some 0.01",
        )  # fmt: skip
    add_seed(training)
    add_threads(training)


def set_option(parser: Any) -> None:
    """``--set``: what has no option of its own."""
    parser.add_argument(
        "--set",
        type=dotted_assignment,
        action="append",
        metavar="NAME=VALUE",
        help="any other option, such as loss=mse or optimizer.betas=0.9,0.99; may be repeated",
    )
