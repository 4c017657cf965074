"""What the processes of an execution may reach: Landlock, namespaces, and which of them this machine has."""
