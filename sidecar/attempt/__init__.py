"""The plan of a request: what is tried, in which order, how long, and when to stop.

`classify` says what an LLM's status means, `plan` decides what happens next, `budget` keeps retries
from becoming a storm, `commands` is the vocabulary between the plan and whoever drives it.
"""
