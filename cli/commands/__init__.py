"""The commands of `waas`, a module for each. A module here that has a member `command` is one: nothing lists them."""
