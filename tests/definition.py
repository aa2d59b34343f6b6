"""The duality gap from its definition, in fifty-digit arithmetic and without any code of ours."""

from mpmath import exp, log, mp, mpf

mp.dps = 50


def exact(values) -> list:
    return [mpf(float(v)) for v in values]


def definition(p, reference, temperature, policy):
    """Both players' best improvements, from J and its maximiser, in fifty digits."""
    n = len(policy)
    a = [[mpf(float(v)) for v in row] for row in p]
    tau = mpf(temperature)

    def normalised(values):
        total = sum(values)
        return [v / total for v in values]

    def kl(x):
        return sum(v * log(v / m) for v, m in zip(x, mu, strict=True) if v > 0)

    def value(x, y):
        won = sum(x[i] * a[i][j] * y[j] for i in range(n) for j in range(n))
        return won - tau * kl(x) + tau * kl(y)

    mu, x = normalised(exact(reference)), normalised(exact(policy))
    against = [sum(a[i][j] * x[j] for j in range(n)) for i in range(n)]
    row = normalised([m * exp(g / tau) for m, g in zip(mu, against, strict=True)])
    conceded = [sum(x[i] * a[i][j] for i in range(n)) for j in range(n)]
    column = normalised([m * exp(-g / tau) for m, g in zip(mu, conceded, strict=True)])
    return value(row, x) - value(x, column)
