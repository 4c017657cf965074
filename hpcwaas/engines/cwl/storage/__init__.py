"""What stands on the disk: the queue, the directories of executions, their logs and outputs."""
