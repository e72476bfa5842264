"""Federated fine-tuning: clients train within their budgets, a server joins what they send; Flower carries it.

`layout`, `units`, `packing`, `averaging`, `merging`, `states`, `child`, `orders` and `rounds` know nothing of Flower,
nor do `boards`, `board_round` and `gateway`, by which a client speaks for boards over ssh; `records`, `client`,
`strategy` and `server` are its side. See docs/federated.md.
"""
