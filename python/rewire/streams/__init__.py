"""Data that are read while a network learns from them, and are never in memory as a whole.

    units  ->  pieces  ->  windows  ->  batches

A *unit* is what can be read by itself, in any order: some rows of an array, a row group of a Parquet file,
all that a loader gives. It comes as one or more *pieces*, which are checked as they come. A *window* is as
many samples as are shuffled together, in memory; batches are cut from it.

In reading order: `pieces` is what every kind of data is to those who read; `sliced`, `iterated` and `parquet`
are the three kinds, and `kinds` says which of them something is; `joining` takes samples apart and puts them
together; `ahead` reads in a thread of its own; `windows` is the order of an epoch; `stream` is what a trainer
has of it all.
"""
