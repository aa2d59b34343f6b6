"""Pictures of results, which show what was computed and compute nothing."""

from nlhf.plotting.alignments import plot_alignment
from nlhf.plotting.analyses import plot_analysis
from nlhf.plotting.comparisons import plot_comparison
from nlhf.plotting.learning import plot_offline, plot_online
from nlhf.plotting.pictures import check_picture

__all__ = [
    "check_picture",
    "plot_alignment",
    "plot_analysis",
    "plot_comparison",
    "plot_offline",
    "plot_online",
]
