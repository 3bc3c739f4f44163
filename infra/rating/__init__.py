"""Rating a period's usage again: `rerate` reads what was charged and says what other `prices` come to,
`tables` shows it, `corrections` posts it. The rules are billing's own.
"""
