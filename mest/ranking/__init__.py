"""Which training samples matter: forgetting statistics, rankings, and training without the easiest samples.

`forgetting` counts forgetting events in constant memory per sample, `presentations` brings together what several
processes saw, `ranking` writes and reads the resulting order (`restricted_pickle` reads the published form without
unpickling), `removal` says how many samples go when, and `samples` is the one object a trainer holds.
"""

from mest.ranking.ranking import Ranking, read_ranking, write_ranking

__all__ = ["Ranking", "read_ranking", "write_ranking"]
