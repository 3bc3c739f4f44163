"""What a user leaves behind, forgotten for good: choices, runs and kept answers. The books stay."""

from typing import Final

from infra.bootstrap.postgres import connect
from shared.runtime.postgres import changed_rows

_TOKENS: Final = "DELETE FROM edge.api_tokens WHERE user_id = $1"
_LEFT_BEHIND: Final = {
    "model settings": "DELETE FROM edge.preferences WHERE user_id = $1",
    "consent settings": "DELETE FROM key_vault.settings WHERE user_id = $1",
    "councils": "DELETE FROM edge.councils WHERE user_id = $1",
    "runs": "DELETE FROM edge.runs WHERE user_id = $1",
}


async def forget_tokens(postgres_url: str, user_id: str) -> int:
    """Delete all of a user's API tokens; return how many. Edges remember one for five seconds."""
    async with connect(postgres_url) as database:
        return changed_rows(await database.execute(_TOKENS, user_id))


async def forget_user(postgres_url: str, user_id: str) -> dict[str, int]:
    """Delete the rest in one transaction, as the administrator; return how many of what.

    Keys are not among it: key_vault destroys them, and tells the workers.
    """
    async with connect(postgres_url) as database, database.transaction():
        return {
            what: changed_rows(await database.execute(delete, user_id))
            for what, delete in _LEFT_BEHIND.items()
        }
