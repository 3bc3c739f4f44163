"""Vault (or OpenBao) over HTTP: mounts, keys, a policy and an AppRole per service, platform keys."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from infra.bootstrap.http import Api, client, wait_for
from infra.bootstrap.realm import BootstrapError, Realm, Servers
from shared.kernel.names import SERVICES, KeyService

POLICIES = Path(__file__).parents[1] / "vault" / "policies"
_ROLE = {
    "token_ttl": "1h",
    "token_max_ttl": "24h",
    "token_no_default_policy": True,
    "secret_id_ttl": 0,
    "secret_id_num_uses": 0,
}
_CREDENTIALS_KEY = {"type": "aes256-gcm96", "derived": True}
_KEY_NAMES = ("api_key", "api_keys")
_FINGERPRINTS_KEY = {"type": "hmac", "key_size": 32}

Logins = dict[str, tuple[str, str]]


def prepare(
    servers: Servers,
    realm: Realm,
    known: Mapping[str, str],
    *,
    timeout_s: float,
    progress: Callable[[str], None],
) -> Logins:
    """Make the realm's mounts, keys, policies and roles; return each service's (role id, secret id).

    `known` holds the secret ids of an earlier run; those that still work are kept.
    """
    _wait(servers, timeout_s)
    with _client(servers) as http:
        api = Api("vault", http)
        _mount(api, realm)
        _audit(api, progress)
        # A new KV v2 mount answers 400 for a moment while it upgrades itself.
        wait_for("vault", lambda: _sealing_pair(api, realm), timeout_s=timeout_s)
        for service, keys in realm.platform_keys.items():
            _platform_key(api, realm, service, **_named(keys))
        if realm.gateway_url:
            _gateway_url(api, realm, realm.gateway_url, progress)
        return {service: _role(api, realm, service, known.get(service)) for service in SERVICES}


def drop(servers: Servers, realm: Realm) -> None:
    """Remove mounts, roles and policies; what is not there is no error."""
    with _client(servers) as http:
        api = Api("vault", http)
        for mount in (realm.transit, realm.name):
            api.call("DELETE", f"/v1/sys/mounts/{mount}", absent_ok=True)
        for service in SERVICES:
            api.call("DELETE", f"/v1/auth/approle/role/{realm.login(service)}", absent_ok=True)
            api.call("DELETE", f"/v1/sys/policies/acl/{realm.login(service)}", absent_ok=True)


def policy(realm: Realm, service: str) -> str:
    return (POLICIES / f"{service}.hcl").read_text().replace("{realm}", realm.name)


def _wait(servers: Servers, timeout_s: float) -> None:
    with client(servers.vault_addr) as http:  # in no namespace: none has this
        api = Api("vault", http)
        wait_for("vault", lambda: api.call("GET", "/v1/sys/health?standbyok=true"), timeout_s=timeout_s)


def _client(servers: Servers) -> httpx2.Client:
    namespace = {"X-Vault-Namespace": servers.vault_namespace} if servers.vault_namespace else {}
    return client(servers.vault_addr, headers={"X-Vault-Token": servers.vault_token, **namespace})


def _mount(api: Api, realm: Realm) -> None:
    there = api.call("GET", "/v1/sys/mounts")["data"]
    if f"{realm.transit}/" not in there:
        api.call("POST", f"/v1/sys/mounts/{realm.transit}", {"type": "transit"})
    if f"{realm.name}/" not in there:
        api.call("POST", f"/v1/sys/mounts/{realm.name}", {"type": "kv", "options": {"version": "2"}})
    if "approle/" not in api.call("GET", "/v1/sys/auth")["data"]:
        api.call("POST", "/v1/sys/auth/approle", {"type": "approle"})
    _key(api, f"/v1/{realm.transit}/keys/credentials", _CREDENTIALS_KEY)
    _key(api, f"/v1/{realm.transit}/keys/fingerprints", _FINGERPRINTS_KEY)


def _key(api: Api, path: str, kind: Mapping[str, object]) -> None:
    if api.call("GET", path, absent_ok=True) is None:
        api.call("POST", path, kind)


def _audit(api: Api, progress: Callable[[str], None]) -> None:
    """Have an audit device. OpenBao takes it from its server configuration only, and refuses here, as do
    all in a namespace: whoever runs the server says what it audits.
    """
    try:
        if api.call("GET", "/v1/sys/audit")["data"]:
            return
        api.call("PUT", "/v1/sys/audit/stdout", {"type": "file", "options": {"file_path": "stdout"}})
    except BootstrapError as error:
        progress(f"vault has no audit device, or none that is told here: {error}")


def _role(api: Api, realm: Realm, service: str, known: str | None) -> tuple[str, str]:
    name = realm.login(service)
    path = f"/v1/auth/approle/role/{name}"
    api.call("PUT", f"/v1/sys/policies/acl/{name}", {"policy": policy(realm, service)})
    api.call("POST", path, {**_ROLE, "token_policies": [name]})
    role_id: str = api.call("GET", f"{path}/role-id")["data"]["role_id"]
    return role_id, known if known and _is_valid(api, path, known) else _new_secret_id(api, path)


def _is_valid(api: Api, path: str, secret_id: str) -> bool:
    # Vault answers an unknown secret id with 204 or 404, by version.
    return bool(api.call("POST", f"{path}/secret-id/lookup", {"secret_id": secret_id}, absent_ok=True))


def _new_secret_id(api: Api, path: str) -> str:
    secret_id: str = api.call("POST", f"{path}/secret-id")["data"]["secret_id"]
    return secret_id


def _sealing_pair(api: Api, realm: Realm) -> None:
    """Make key_vault's X25519 pair once; the public half is always the private one's."""
    private = f"/v1/{realm.name}/data/sealing/private"
    stored = api.call("GET", private, absent_ok=True)
    if stored is None:
        raw = X25519PrivateKey.generate().private_bytes_raw()
        # cas 0 = create only: of two bootstraps at once the second is refused, and reads on its next try.
        api.call("POST", private, {"options": {"cas": 0}, "data": {"private_key": _b64(raw)}})
        return _sealing_pair(api, realm)
    key = X25519PrivateKey.from_private_bytes(base64.b64decode(stored["data"]["data"]["private_key"]))
    public = {"public_key": _b64(key.public_key().public_bytes_raw())}
    return _put(api, f"/v1/{realm.name}/data/sealing/public", public)


def _platform_key(api: Api, realm: Realm, service: str, **told: object) -> None:
    """Write what is told of a service's keys; the rest stays as ops put it (a gateway's address)."""
    path = f"/v1/{realm.name}/data/platform/{service}"
    known = _secret(api, path)
    if any(name in told for name in _KEY_NAMES):
        known = {name: value for name, value in known.items() if name not in _KEY_NAMES}
    _put(api, path, {**known, **told})


def _gateway_url(api: Api, realm: Realm, url: str, progress: Callable[[str], None]) -> None:
    known = _secret(api, f"/v1/{realm.name}/data/platform/{KeyService.GATEWAY}")
    if any(name in known for name in _KEY_NAMES):
        _platform_key(api, realm, KeyService.GATEWAY, base_url=url)
    else:
        progress("AI_GATEWAY_URL is left out: there is no AI_GATEWAY_API_KEY")


def _named(keys: tuple[str, ...]) -> dict[str, object]:
    return {"api_key": keys[0]} if len(keys) == 1 else {"api_keys": list(keys)}


def _put(api: Api, path: str, data: Mapping[str, Any]) -> None:
    """Write a secret unless it already says so: no version without a change."""
    if _secret(api, path) != data:
        api.call("POST", path, {"data": data})


def _secret(api: Api, path: str) -> dict[str, Any]:
    stored = api.call("GET", path, absent_ok=True)
    return stored["data"]["data"] if stored else {}


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
