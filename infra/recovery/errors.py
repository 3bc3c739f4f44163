"""Why a database cannot be recovered."""


class RecoveryError(Exception):
    """Nothing was changed; it says why."""
