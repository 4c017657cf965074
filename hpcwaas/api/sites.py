"""`/sites`."""

from __future__ import annotations

from typing import Any

from flask import Response

from hpcwaas.api import views
from hpcwaas.core.people import Principal
from hpcwaas.core.sites import Sites


class SiteHandlers:
    """Handlers of the operations on sites and on users' accounts there."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def list_sites(self, principal: Principal) -> Response:
        """Lists sites."""
        return views.answer({"sites": [views.site(found) for found in self._sites.list(principal)]})

    def get_site(self, principal: Principal, site_id: str) -> Response:
        """Shows a site."""
        return views.answer(views.site(self._sites.get(principal, site_id)))

    def get_site_account(self, principal: Principal, site_id: str) -> Response:
        """Shows the user's account on a site."""
        return views.answer(views.account(self._sites.account(principal, site_id)))

    def put_site_account(self, principal: Principal, site_id: str, body: dict[str, Any]) -> Response:
        """Stores the user's account on a site."""
        account, new = self._sites.put_account(principal, site_id, body.get("user"), body.get("ssh_key"))
        return views.answer(views.account(account), 201 if new else 200)

    def delete_site_account(self, principal: Principal, site_id: str) -> Response:
        """Forgets the user's account on a site."""
        self._sites.delete_account(principal, site_id)
        return views.empty(204)

    def check_site_account(self, principal: Principal, site_id: str) -> Response:
        """Tries the user's account on a site."""
        return views.answer(views.account_check(self._sites.check_account(principal, site_id)))
