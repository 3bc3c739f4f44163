"""One idempotent step that makes a realm: vhost, Vault mounts, database, and who may do what there."""

from infra.bootstrap.realm import BootstrapError, Realm, Servers
from infra.bootstrap.step import bootstrap, drop_realm
from infra.bootstrap.tokens import mint_token

__all__ = ["BootstrapError", "Realm", "Servers", "bootstrap", "drop_realm", "mint_token"]
