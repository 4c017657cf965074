# OpenBao of one server, for compose.yaml. Its seal opens by the key in secrets/openbao_seal when it starts.
storage "raft" {
  path    = "/openbao/file"
  node_id = "one"
}

listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true # in a network of the containers alone
}

seal "static" {
  current_key_id = "1"
  current_key    = "file:///run/secrets/openbao_seal"
}

api_addr     = "http://openbao:8200"
cluster_addr = "http://openbao:8201"
