from .algorithms.extragradient import Extragradient as Extragradient
from .algorithms.loop import StopRule as StopRule
from .analysis import Settings as Settings
from .analysis import analyse_votes as analyse_votes
from .certificates import certify as certify
from .certificates import exploitability as exploitability
from .data.counts import win_counts as win_counts
from .data.votes_csv import read_votes as read_votes
from .errors import NlhfError as NlhfError
from .games.payoffs import LowRankPayoff as LowRankPayoff
from .games.preference import LogOddsGame as LogOddsGame
from .games.preference import LowRankPreference as LowRankPreference
from .games.preference import PreferenceGame as PreferenceGame
from .games.zero_sum import ZeroSumGame as ZeroSumGame
from .results import Certificate as Certificate
from .results import Solution as Solution
from .results import Stop as Stop
from .solving import solve as solve
from .spaces.simplex import Policy as Policy
from .streams import Stream as Stream

__version__: str
