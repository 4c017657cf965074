# What the Workflow Execution Service needs: to write key pairs, never to read one back.
# KV version 2, mounted at secret/; see docs/how-to/vault.md for other mounts and for version 1.
#
#   vault policy write hpcwaas-service hpcwaas-service.hcl

path "secret/data/ssh-credentials/*" {
  capabilities = ["create", "update"]
}

# Custom metadata, the version that a rotation replaces, and deletion with all versions. No secret is in it.
path "secret/metadata/ssh-credentials/*" {
  capabilities = ["create", "update", "read", "list", "delete"]
}

# To tell operators in /health/ready which of these rights are missing. Vault's policy `default` has it, too.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
