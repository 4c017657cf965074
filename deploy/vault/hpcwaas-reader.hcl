# Optional, for whatever logs in to HPC systems with the users' keys (Yorc, say): a second identity that may read them
# and nothing else. Never give it to the service.
#
#   vault policy write hpcwaas-reader hpcwaas-reader.hcl

path "secret/data/ssh-credentials/*" {
  capabilities = ["read"]
}
