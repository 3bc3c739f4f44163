"""The ledger's auditor: what does not add up in the tables, and whether the stream tells the same.

`verify` asks the tables alone. `rebuild` replays the usage stream (`replay`, `events`) into tables of its own
(`scratch`, `sql`) and compares with the ledger as it was at one moment (`snapshot`), from the stream's start
or from a checkpoint (`checkpoints`).
"""
