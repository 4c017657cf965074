"""The command line's flags that are settings."""

from __future__ import annotations

from hpcwaas.common.flags import Flag
from hpcwaas.engines.registry import registry

FLAGS = (
    Flag("--listen_address", "listen_address", "HOST:PORT to listen on.", "-l"),
    Flag("--data_dir", "data_dir", "Directory for everything that the service keeps."),
    *(flag for entry in registry().entries for flag in entry.flags),
    Flag("--vault_address", "vault_config.address", "URL of HashiCorp Vault."),
    Flag("--vault_role_id", "vault_config.role_id", "Role id to log in with at the vault."),
    Flag(
        "--vault_secret_id",
        "vault_config.secret_id",
        "Secret id of that role. Better given in a variable: other users can list processes.",
        secret=True,
    ),
    Flag("--vault_is_secret_wrapped", "vault_config.is_secret_wrapped", "The secret id is wrapped.", switch=True),
)
