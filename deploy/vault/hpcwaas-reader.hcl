# A second identity that may read private keys and nothing else: for `vault_config.key_reader`, by which the service signs
# in to sites, and for whatever else logs in to HPC systems with the users' keys (Yorc, say). Each gets an AppRole of its
# own with this policy. Never give it to the identity of the service itself (`vault_config.role_id`), which users' requests
# reach.
#
#   vault policy write hpcwaas-reader hpcwaas-reader.hcl

path "secret/data/ssh-credentials/*" {
  capabilities = ["read"]
}
