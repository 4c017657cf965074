# Where certificates open accounts on sites (`vault_config.ssh_ca`): lets the service have keys signed that live for one
# connection. Give it to the service beside hpcwaas-service. Here the SSH secrets engine is mounted at ssh/, and its role
# is hpcwaas:
#
#   vault secrets enable ssh
#   vault write ssh/config/ca generate_signing_key=true key_type=ed25519
#   vault write ssh/roles/hpcwaas key_type=ca algorithm_signer=default allow_user_certificates=true \
#     allowed_users='*' allow_user_key_ids=true ttl=5m max_ttl=1h
#   vault policy write hpcwaas-signer hpcwaas-signer.hcl
#
# `allowed_users` may name login names instead; `*` leaves it to the sites' `logins` in the settings of the service.

path "ssh/sign/hpcwaas" {
  capabilities = ["create", "update"]
}
