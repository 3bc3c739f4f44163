"""What a database that was restored from a backup does not know, brought into it from the streams.

`recover` is the whole of it. `told` reads the usage stream, `books` brings runs and ledger up to it and has
billing's own rules rate what was not told of, `keys` does the same for keys and consents.
"""
