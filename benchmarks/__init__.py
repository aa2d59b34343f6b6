"""What `nlhf bench` runs: measurements beside other packages, and studies; needs a checkout.

* `suites` lists what there is, as data of `cases`; `run` measures what is missing, a row a method,
  by `measure`; `turns` lets methods take turns on the same instances; `report` writes what follows
  from rows, `pictures` draws it.
* `solvers`, `scaling`, `language`, `studies` hold what is measured; `comparing` says what got
  slower.
* `peers` names other packages. They run in this process, or under the interpreters that
  NLHF_PYGAMBIT_PYTHON, NLHF_PEERS_PYTHON and NLHF_TRL_PYTHON name.
"""
