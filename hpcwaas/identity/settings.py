"""How users sign in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from hpcwaas.common.setting_types import Section, SecureUrl


class Account(Section):
    """A user who signs in with a password."""

    username: str = Field(
        min_length=1, max_length=255, description="Name to sign in with, and the user's id. No colon."
    )
    password_hash: SecretStr | None = Field(
        None, description="Password as `hpcwaas-api user hash` prints it (argon2). Either this or `password`."
    )
    password: SecretStr | None = Field(None, description="Password in plain text, as in old files.")
    groups: tuple[str, ...] = Field((), description="Groups that the user belongs to.")

    @model_validator(mode="after")
    def _check(self) -> Account:
        if ":" in self.username:
            raise ValueError("a username can't hold a colon: HTTP Basic splits there")
        if self.username == "*":
            raise ValueError("`*` stands for everybody and can't be a username")
        if (self.password is None) == (self.password_hash is None):
            raise ValueError("give either `password_hash` or `password`")
        if self.password is not None and not self.password.get_secret_value():
            raise ValueError("a password can't be empty")
        if self.password_hash is not None and not self.password_hash.get_secret_value().startswith("$argon2"):
            raise ValueError("`password_hash` isn't one that `hpcwaas-api user hash` prints")
        return self


class BasicAuth(Section):
    """Accounts with passwords. More can be kept in the store: `hpcwaas-api user add`."""

    accounts: tuple[Account, ...] = Field((), description="Who may sign in, besides the accounts of the store.")

    @model_validator(mode="after")
    def _check(self) -> BasicAuth:
        names = [account.username for account in self.accounts]
        if len(set(names)) != len(names):
            raise ValueError("each username may be listed only once")
        return self


def _auth_types(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


AcrValue = Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")]
"""As a header carries it: no blanks, no quotes (RFC 9470)."""


class RequiredClaim(Section):
    """A claim that the identity provider has to make about a user."""

    claim: str = Field(min_length=1, description="Name of a claim, such as `eduperson_assurance`.")
    values: tuple[str, ...] = Field(
        min_length=1,
        description="Values of which the user needs one. A group of an entitlement stands for its members in any role.",
    )


class StepUpSettings(Section):
    """How well, or how recently, a user has to have signed in for sensitive acts (RFC 9470)."""

    acr_values: tuple[AcrValue, ...] = Field(
        (), description="Ways to sign in of which one is enough, as the provider names them in `acr`. Default: any."
    )
    max_age: int | None = Field(
        None, ge=60, description="Seconds that the sign-in at the provider may be old. Default: no limit."
    )
    acts: tuple[Literal["keys", "tokens", "operator"], ...] = Field(
        ("keys", "tokens", "operator"),
        min_length=1,
        description=(
            "Acts that need it. `keys`: making, rotating and deleting SSH keys, and connecting accounts on sites. "
            "`tokens`: making personal access tokens. `operator`: whatever operators do with the objects of others."
        ),
    )


class TermsSettings(Section):
    """Terms of use that every user has to accept once."""

    version: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Version of the terms. Users have to accept a new version again. Default: no terms.",
    )
    text: str | None = Field(None, min_length=1, description="The terms, in plain text.")
    url: SecureUrl | None = Field(None, description="Address of the terms, instead of `text` or in addition to it.")


class AuthSettings(Section):
    """How users sign in. Any `auth` section turns the local mode off."""

    auth_type: Annotated[tuple[Literal["basic", "sso"], ...], BeforeValidator(_auth_types), Field(min_length=1)] = (
        Field(description="`basic`: accounts with passwords. `sso`: single sign-on by OpenID Connect. Or both: a list.")
    )
    basic_auth: BasicAuth = Field(default_factory=BasicAuth, description="Accounts for `auth_type: basic`.")
    issuer: SecureUrl | None = Field(
        None, description="For `sso`: the identity provider, as its discovery document names itself."
    )
    auth_url: SecureUrl | None = Field(None, description="Authorization endpoint, if there is no `issuer`.")
    token_url: SecureUrl | None = Field(None, description="Token endpoint, if there is no `issuer`.")
    user_info_url: SecureUrl | None = Field(None, description="User info endpoint, if there is no `issuer`.")
    introspection_url: SecureUrl | None = Field(
        None, description="Introspection endpoint (RFC 7662). Default: the one of the discovery document."
    )
    redirect_url: SecureUrl | None = Field(
        None,
        description="For `sso`: URL of this service's `/auth/authorize` for browsers, as registered at the provider.",
    )
    client_id: str | None = Field(None, min_length=1, description="For `sso`: id of this service at the provider.")
    client_secret: SecretStr | None = Field(None, description="For `sso`: secret of this service at the provider.")
    scopes: tuple[str, ...] = Field(("openid", "profile", "email"), description="Scopes to ask the provider for.")
    audience: str | None = Field(
        None,
        min_length=1,
        description="Audience that access tokens in the form of a JWT must name. Default: `client_id`.",
    )
    subject_claim: str = Field(
        "sub",
        min_length=1,
        description="Claim that becomes the user's id. `realm.user` is the claim `user` inside `realm`.",
    )
    assume_verified: bool = Field(
        False,
        description=(
            "For `subject_claim: email` or `phone_number`: the provider verifies all of them and never says so "
            "(`email_verified`). A claim that it marks as not verified is still refused."
        ),
    )
    groups_claim: Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(min_length=1)] = Field(
        ("groups",),
        description=(
            "Claims that list the user's groups, one or several: `groups`, `realm_access.roles` (the claim `roles` "
            "inside `realm_access`), `eduperson_entitlement`."
        ),
    )
    required_claims: tuple[RequiredClaim, ...] = Field(
        (), description="For `sso`: claims that the provider has to make about a user; all of them are needed."
    )
    ca_file: Path | None = Field(
        None, description="Certificates (PEM) to trust at the provider. Default: those that come with Python."
    )
    session_duration: int = Field(
        86400,
        gt=0,
        le=366 * 86400,
        description="Seconds after which a user has to sign in at the provider again; at most a year.",
    )
    operators: tuple[str, ...] = Field((), description="User ids of operators, who see and cancel all executions.")
    operator_groups: tuple[str, ...] = Field((), description="Groups whose members are operators.")
    step_up: StepUpSettings = Field(default_factory=StepUpSettings, description="What some acts demand of the sign-in.")
    terms: TermsSettings = Field(default_factory=TermsSettings, description="Terms of use.")
    max_token_days: int = Field(
        365, gt=0, le=36500, description="Longest validity of a personal access token, in days."
    )
