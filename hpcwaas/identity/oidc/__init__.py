"""Users of an identity provider: OpenID Connect, or plain OAuth 2 with user info. See `party.RelyingParty`."""
