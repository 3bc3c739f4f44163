"""What analysts get out of the usage stream: events that count, flat rows, files and sums. docs/analytics.md.

`checking` leaves out what no service said, `window` says which part of the stream, `seen` tells repeats;
`columns` is the one flat schema, `writers` the formats; `export` and `summary` are the commands' work.
"""
