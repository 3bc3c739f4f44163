# Encrypts and decrypts credentials, fingerprints them, reads platform keys. `{realm}` is filled in by the bootstrap.
path "{realm}_transit/encrypt/credentials" {
  capabilities = ["update"] # not "create": that would make keys
}
path "{realm}_transit/decrypt/credentials" {
  capabilities = ["update"]
}
path "{realm}_transit/keys/credentials" { # which version is the latest, not the key itself
  capabilities = ["read"]
}
path "{realm}_transit/hmac/fingerprints" {
  capabilities = ["update"]
}
path "{realm}/data/platform/*" {
  capabilities = ["read"]
}
path "{realm}/metadata/platform/*" {
  capabilities = ["read", "list"]
}
path "{realm}/data/sealing/private" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
