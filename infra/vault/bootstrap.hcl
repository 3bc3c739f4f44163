# What the bootstrap of one realm needs of Vault. `{realm}` is its name; in a namespace it is all the same.
# Who has it can give himself the rest, for it writes policies and roles: revoke such a token after use.
path "sys/mounts"             { capabilities = ["read"] }
path "sys/mounts/{realm}"     { capabilities = ["create", "update"] }
path "sys/mounts/{realm}_transit" { capabilities = ["create", "update"] }
path "sys/audit"              { capabilities = ["read", "sudo"] }
path "sys/auth"               { capabilities = ["read"] }
path "sys/auth/approle"       { capabilities = ["create", "update", "sudo"] }
path "sys/policies/acl/{realm}_*"    { capabilities = ["create", "update"] }
path "auth/approle/role/{realm}_*"   { capabilities = ["create", "read", "update"] }
path "{realm}/data/*"         { capabilities = ["create", "read", "update"] }
path "{realm}_transit/keys/*" { capabilities = ["create", "read", "update"] }
