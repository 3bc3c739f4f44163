"""What a database that was restored from a backup does not know, brought into it from the streams.

`recover` is the whole of it. `told` reads the usage stream into tables of the session's own, `runs` and
`ledger` add what is missing, `rating` has billing rate what no charge was told of, `keys` is about keys and
consents.
"""
