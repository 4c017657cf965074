"""The command line's flags that are settings. Light: `hpcwaas-api --help` needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting on the command line.

    Attributes:
        name: as the service that this one replaces spells it; `-` instead of `_` works too.
        setting: full name of the setting.
        help: what it does; None keeps it out of the help.
        switch: takes no value.
        secret: its value is one.
    """

    name: str
    setting: str
    help: str | None = None
    short: str | None = None
    switch: bool = False
    secret: bool = False

    @property
    def variable(self) -> str:
        """Name of the setting's environment variable."""
        return f"HWA_{self.setting.replace('.', '_').upper()}"


FLAGS = (
    Flag("--listen_address", "listen_address", "HOST:PORT to listen on.", "-l"),
    Flag("--data_dir", "data_dir", "Directory of everything the service keeps."),
    Flag("--cwl_catalogue", "cwl.catalogue", "Directory whose CWL workflows are published."),
    Flag("--a4c_address", "alien_config.address", "URL of Alien4Cloud."),
    Flag("--a4c_user", "alien_config.user", "Account of this service in Alien4Cloud."),
    Flag(
        "--a4c_password",
        "alien_config.password",
        "Its password. Better in a variable: processes can be listed.",
        secret=True,
    ),
    Flag("--a4c_ca_file", "alien_config.ca_file", "Certificates to trust for Alien4Cloud."),
    Flag("--a4c_skip_secure", "alien_config.skip_secure", "Accept any certificate of Alien4Cloud.", switch=True),
    Flag("--vault_address", "vault_config.address", "URL of HashiCorp Vault."),
    Flag("--vault_role_id", "vault_config.role_id", "Role id to log in with at the vault."),
    Flag(
        "--vault_secret_id",
        "vault_config.secret_id",
        "Its secret id. Better in a variable: processes can be listed.",
        secret=True,
    ),
    Flag("--vault_is_secret_wrapped", "vault_config.is_secret_wrapped", "The secret id is wrapped.", switch=True),
)
