# One Vault (or OpenBao) node with its data on disk. The words in braces are filled in by the stack that runs it.
disable_mlock = true
ui            = false
api_addr      = "http://{host}:{port}"
cluster_addr  = "http://{host}:{cluster_port}"

storage "raft" {
  path                   = "{data}"
  node_id                = "latchkey"
  performance_multiplier = 1 # a lone node elects itself within a second or two
}

listener "tcp" {
  address         = "{host}:{port}"
  cluster_address = "{host}:{cluster_port}"
  tls_disable     = true # plain only on loopback or inside the compose network
}
