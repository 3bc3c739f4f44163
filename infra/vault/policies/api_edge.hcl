# Reads key_vault's public sealing key, nothing else. `{realm}` is filled in by the bootstrap.
path "{realm}/data/sealing/public" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
