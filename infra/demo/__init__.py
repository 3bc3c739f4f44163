"""The whole story on a running stack: own key, platform key, strict flow, usage events, ledger.

    python -m infra.demo                        # on the stack that runs, else on one of its own
    python -m infra.demo --env-file X --no-stack  # only the story, on the stack that X describes

Every step is checked; the exit code is 0 only if each did what it says. `story` is the story, `edge`,
`usage_stream` and `ledger` are its tools, `stack` finds or starts what it runs on.
"""
