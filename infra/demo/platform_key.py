"""The platform's own OpenAI key: in Vault's KV v2, where operators put it."""

import httpx2

from infra.demo.environment import Environment

SIMULATED_KEY = "sk-sim-platform-0123456789abcdef"


async def ensure_platform_key(env: Environment) -> bool:
    """Put a simulated key for openai where there is none; tells whether it did."""
    url = f"{env.vault_addr}/v1/{env.realm}/data/platform/openai"
    headers = {"X-Vault-Token": env.vault_token}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as vault:
        found = await vault.get(url)
        if found.status_code != httpx2.codes.NOT_FOUND:
            found.raise_for_status()
            return False
        put = await vault.post(url, json={"data": {"api_key": SIMULATED_KEY}})
        put.raise_for_status()
        return True
