# Nothing in Vault is this service's business.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
