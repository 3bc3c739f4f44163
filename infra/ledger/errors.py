"""Why nothing can be said of the ledger."""


class CannotTellError(Exception):
    """Neither the same nor different: what is missing to compare is said."""
