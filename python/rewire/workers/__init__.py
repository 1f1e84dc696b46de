"""Several processes that train one network together, with the bits of one.

In reading order: `comm` is what they talk by; `pipes`, `shared` and `processes` are an engine for
one machine, `mpi` and `gloo` those of programs that a launcher has started, which `world` finds; `serving` is
what a worker does, `child` how its process begins; `team` is how rank 0 makes one gradient of what all have
found, `starting` how it gets its team, `launched` how it does so among processes that are there already, and
`joining` which of these it is.
"""
