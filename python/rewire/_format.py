"""Numbers for people: counts, fractions in percent, seconds."""

from __future__ import annotations

import math

__all__ = ["percent", "plural", "seconds"]


def plural(count: int, thing: str, things: str | None = None) -> str:
    """``1 step``, ``2 steps``; ``things`` where an s is not all that several have more."""
    return f"{count} {thing if count == 1 else things or thing + 's'}"


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction as ``4.6 %``: never with an exponent, and ``100 %`` or ``0 %`` only when that is what it is.

    Parameters
    ----------
    fraction : float
        1.0 is 100 %.
    digits : int
        Significant ones, at least; trailing zeros go.
    """
    value = 100.0 * fraction
    if not math.isfinite(value) or value == 0.0:
        return f"{value:g} %"
    digits = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    while 0.0 < fraction < 1.0 and float(f"{value:.{digits}f}") >= 100.0 and digits < 15:
        digits += 1  # 99.7 is not 100
    text = f"{value:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def seconds(span: float) -> str:
    """A span of time: ``0.4 ms``, ``38 ms``, ``0.38 s``, ``12.4 s``."""
    if span < 0.00995:
        return f"{1000.0 * span:.1f} ms"
    if span < 0.0995:
        return f"{1000.0 * span:.0f} ms"
    return f"{span:.2f} s" if span < 9.995 else f"{span:.1f} s"
