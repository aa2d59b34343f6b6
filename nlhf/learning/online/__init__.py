"""Rounds of asking and planning."""

from nlhf.learning.online.explorers import (
    Enhancer,
    Explorer,
    OnPolicy,
    Optimist,
    Reference,
    Uniform,
)
from nlhf.learning.online.learning import learn_online
from nlhf.learning.online.oracles import CallableOracle, ModelOracle, Oracle, Unseen, VotesOracle
from nlhf.learning.online.runs import OnlineRun, Round, Standing, population_eluder

__all__ = [
    "CallableOracle",
    "Enhancer",
    "Explorer",
    "ModelOracle",
    "OnPolicy",
    "OnlineRun",
    "Optimist",
    "Oracle",
    "Reference",
    "Round",
    "Standing",
    "Uniform",
    "Unseen",
    "VotesOracle",
    "learn_online",
    "population_eluder",
]
