"""The fab tasks, where `fab --list` finds them."""

from deploy.tasks import *  # noqa: F403
