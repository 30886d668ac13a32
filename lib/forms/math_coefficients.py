#!/usr/bin/python3
"""Derives the polynomial coefficients and constants of math-inl.h. Run by hand: math_coefficients.py

Each polynomial is a weighted minimax fit (exchange algorithm in 50-digit arithmetic) of a function over an interval, with
the low coefficients given. Coefficients are then rounded to the target type one at a time, lowest degree first, and
the others fitted again, so that the rounding of the early ones is taken up by the later ones. The printed error is
that of the rounded polynomial against the function, relative to what the weight says. Needs mpmath.
"""

import struct

from mpmath import (mp, mpf, matrix, lu_solve, log, exp, expm1, log1p, cosh, sqrt, atan, atanh, cos, pi, floor)

mp.dps = 50


def round_to(x, bits):
    """x rounded to f32 (bits = 24) or f64 (bits = 53); the range is never an issue here."""
    if x == 0:
        return mpf(0)
    e = int(floor(mp.log(abs(x), 2)))
    ulp = mpf(2) ** (e - bits + 1)
    return mp.nint(x / ulp) * ulp


def polyval(coefficients, x):
    result = mpf(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


def minimax(target, weight, lo, hi, start, count):
    """Coefficients of x^start .. x^(start+count-1) with the smallest max |weight * (target - p)| on a grid.

    Stiefel's exchange (the simplex method on the dual): it needs no Chebyshev system, so an interval around zero and
    a weight that vanishes there are fine.
    """
    grid = [(lo + hi) / 2 - (hi - lo) / 2 * cos(pi * i / 501) for i in range(502)]
    rows = []
    for x in grid:
        w = weight(x)
        rows.append(([w * x ** (start + j) for j in range(count)], w * target(x)))
    reference = [int(1 + 498 * (1 - cos(pi * (i + 0.5) / (count + 1))) / 2) for i in range(count + 1)]
    null = lu_solve(matrix([[rows[i][0][j] for i in reference[:-1]] for j in range(count)]),
                    matrix([-rows[reference[-1]][0][j] for j in range(count)]))
    signs = [1 if v > 0 else -1 for v in list(null)] + [1]
    for _ in range(400):
        basis = matrix([[s * rows[i][0][j] for i, s in zip(reference, signs)] for j in range(count)] + [[1] * (count + 1)])
        solution = lu_solve(basis.T, matrix([s * rows[i][1] for i, s in zip(reference, signs)]))
        c, level = list(solution)[:count], solution[count]
        if level < 0:  # the other orientation of the same reference
            signs = [-s for s in signs]
            continue
        errors = [t - sum(v * ci for v, ci in zip(r, c)) for r, t in rows]
        worst = max(range(len(grid)), key=lambda i: abs(errors[i]))
        if abs(errors[worst]) <= level * mpf('1.001'):
            break
        sign = 1 if errors[worst] > 0 else -1
        weights = lu_solve(basis, matrix([0] * count + [1]))
        step = lu_solve(basis, matrix([sign * v for v in rows[worst][0]] + [1]))
        leaving = min((i for i in range(count + 1) if step[i] > 0), key=lambda i: weights[i] / step[i])
        reference[leaving], signs[leaving] = worst, sign
    return c


def fit(target, weight, lo, hi, degree, bits, fixed=()):
    """Rounded coefficients of x^0 .. x^degree, the first ones as given, and the max weighted error."""
    lo, hi = mpf(lo), mpf(hi)
    done = list(fixed)
    while len(done) <= degree:
        rest = lambda x: target(x) - polyval(done, x)
        c = minimax(rest, weight, lo, hi, len(done), degree + 1 - len(done))
        done.append(round_to(c[0], bits))
    grid = [lo + (hi - lo) * i / 3000 for i in range(3001)]
    return done, max(abs(weight(x) * (target(x) - polyval(done, x))) for x in grid)


def literal(x, bits):
    if bits == 24:
        return float.hex(float(x)).replace('0000000p', 'p') + 'f'
    return float.hex(float(x))


def show(name, coefficients, error, bits):
    print(f'// {name}: max error 2^{float(mp.log(error, 2)):.1f}')
    print('  ' + ', '.join(literal(c, bits) for c in coefficients))


def split(x, bits, hi_bits):
    hi = round_to(x, hi_bits)
    return hi, round_to(x - hi, bits)


def phi2(x):
    """(exp(x) - 1 - x) / x^2, by its series where that cancels."""
    if abs(x) < mpf('0.01'):
        return sum(x ** k / mp.factorial(k + 2) for k in range(16))
    return (expm1(x) - x) / x ** 2


def log_tail(f):
    """(log(1 + f) - f) / f^2."""
    if abs(f) < mpf('0.001'):
        return sum((-1) ** (k + 1) * f ** k / (k + 2) for k in range(14))
    return (log1p(f) - f) / f ** 2


def atanh_tail(z):
    """(log((1 + s) / (1 - s)) - 2 s) / s^3 at z = s^2: 2/3 + 2/5 z + ..."""
    if z < mpf('0.001'):
        return sum(2 * z ** k / (2 * k + 3) for k in range(14))
    s = sqrt(z)
    return (2 * atanh(s) - 2 * s) / s ** 3


def atanh_tail5(z):
    """(atanh_tail(z) - 2/3) / z."""
    if z < mpf('0.001'):
        return sum(2 * z ** k / (2 * k + 5) for k in range(14))
    return (atanh_tail(z) - mpf(2) / 3) / z


def atan_tail(z):
    """(atan(t) - t) / t^3 at z = t^2: -1/3 + z/5 - ..."""
    if z < mpf('0.001'):
        return sum((-1) ** (k + 1) * z ** k / (2 * k + 3) for k in range(14))
    t = sqrt(z)
    return (atan(t) - t) / t ** 3


def log_cosh_tail(z):
    """(log cosh x - x^2/2) / x^4 at z = x^2: -1/12 + z/45 - ..."""
    if z < mpf('0.0001'):
        return -mpf(1) / 12 + z / 45 - 17 * z ** 2 / 2520 + 31 * z ** 3 / 14175 - 691 * z ** 4 / 935550
    return (log(cosh(sqrt(z))) - z / 2) / z ** 2


def main():
    half = log(2) / 2 * mpf('1.0001')
    for bits, name in ((24, 'f32'), (53, 'f64')):
        hi, lo = split(log(2), bits, bits)
        print(f'// {name}: log2(e), ln 2 as a sum of two')
        print('  ' + ', '.join(literal(c, bits) for c in (round_to(1 / log(2), bits), hi, lo)))
        hi, lo = split(log(2), bits, bits - (8 if bits == 24 else 11))
        print(f'// {name}: ln 2 with trailing zeros, so that a product with any exponent is exact')
        print('  ' + ', '.join(literal(c, bits) for c in (hi, lo)))
        # exp(r) = 1 + r + r^2 q(r), fitted relative to expm1(r), which also serves exp.
        degree = 4 if bits == 24 else 9
        c, e = fit(phi2, lambda x: abs(x ** 2 / expm1(x)) if x else x, -half, half, degree, bits)
        show(f'{name} kExp, of expm1', c, e, bits)
        error = max(abs(x * x * (phi2(x) - polyval(c, x)) / exp(x)) for x in (half * i / 500 for i in range(-500, 501)))
        show(f'{name} kExp, of exp', c, error, bits)
        # exp(r) = 1 + r q(r), a degree less.
        phi1 = lambda x: expm1(x) / x if abs(x) > mpf(10) ** -20 else 1 + x / 2
        c, e = fit(phi1, lambda x: abs(x) / exp(x), -half, half, 4 if bits == 24 else 9, bits)
        show(f'{name} kExpTerm, of exp', c, e, bits)
    # log(1 + f) = f + f^2 p(f), relative to log(1 + f).
    c, e = fit(log_tail, lambda f: abs(f ** 2 / log1p(f)) if f else f, mpf('-0.25'), mpf('0.5'), 8, 24)
    show('f32 kLog', c, e, 24)
    # The same on [0, 1] in w = v - 1/2.
    weight = lambda w: (w + 0.5) ** 2 / log1p(w + 0.5) if w + 0.5 > mpf(10) ** -9 else w + 0.5
    c, e = fit(lambda w: log_tail(w + 0.5), weight, mpf('-0.5'), mpf('0.5'), 8, 24)
    show('f32 kLogUnit', c, e, 24)
    # log((1 + s) / (1 - s)) = 2 s + s^3 p(s^2), relative: |s| <= 1/5 and 0 <= s <= 1/3.
    weight = lambda z: z * sqrt(z) / (2 * atanh(sqrt(z))) if z else z
    c, e = fit(atanh_tail, weight, 0, mpf(1) / 25, 7, 53)
    show('f64 kLog', c, e, 53)
    c, e = fit(atanh_tail, weight, 0, mpf(1) / 9, 9, 53)
    show('f64 kLogUnit', c, e, 53)
    weight = lambda z: z * z * sqrt(z) / (2 * atanh(sqrt(z))) if z else z
    c, e = fit(atanh_tail5, weight, 0, mpf(1) / 25, 8, 53)
    show('f64 kLogLong', c, e, 53)
    hi, lo = split(mpf(2) / 3, 53, 53)
    print('// 2/3 as a sum of two')
    print('  ' + ', '.join(literal(c, 53) for c in (hi, lo)))
    weight = lambda z: z ** 2 / log(cosh(sqrt(z))) if z > mpf(10) ** -12 else z * 2
    for bits, name, degree in ((24, 'f32', 5), (53, 'f64', 14)):
        c, e = fit(log_cosh_tail, weight, 0, 1, degree, bits)
        show(f'{name} kLogCosh', c, e, bits)
    # atan(t) = t + t^3 p(t^2), relative, |t| <= tan(pi/8).
    weight = lambda z: z * sqrt(z) / atan(sqrt(z)) if z else z
    for bits, name, degree in ((24, 'f32', 4), (53, 'f64', 10)):
        c, e = fit(atan_tail, weight, 0, mpf('0.17157289'), degree, bits)
        show(f'{name} kAtan', c, e, bits)
        hi, lo = split(pi / 2, bits, bits)
        print(f'// {name}: pi/2 as a sum of two')
        print('  ' + ', '.join(literal(c, bits) for c in (hi, lo)))


if __name__ == '__main__':
    main()
