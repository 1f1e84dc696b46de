"""Few combinations of options in which every two values of different options meet."""

from itertools import combinations, product


def pairs_of(chosen):
    """All pairs of a combination {option number: value number}."""
    return set(combinations(sorted(chosen.items()), 2))


def pairwise(options):
    """Greedy all-pairs: a combination begins with a pair that is missing and takes in as many more as it can.

    Parameters
    ----------
    options : dict
        Name -> list of values.

    Returns
    -------
    list of dict
        Each names a value for every option; any two values of two options stand together in one of them.
    """
    values = list(options.values())
    positions = [(option, value) for option in range(len(values)) for value in range(len(values[option]))]
    missing = {(a, b) for a, b in combinations(positions, 2) if a[0] != b[0]}
    found = []
    while missing:
        chosen = dict(min(missing))
        for option in set(range(len(values))) - set(chosen):
            tries = [{**chosen, option: value} for value in range(len(values[option]))]
            chosen = max(tries, key=lambda one: len(pairs_of(one) & missing))
        missing -= pairs_of(chosen)
        found.append({name: options[name][chosen[i]] for i, name in enumerate(options)})
    return found


def everything(options):
    """All combinations."""
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]
