/* Special functions of real numbers: log Gamma, the Beta distribution, and E (1 - x Y)^t over a Beta distributed Y. */

const ROUND_OFF = 1e-18;

/** 1 - (1 - part)^t for part in [0, 2], without cancellation where part is small. */
function lostAfter(part, t) {
  return part < 0.5 ? -Math.expm1(t * Math.log1p(-part)) : 1 - (1 - part) ** t;
}

/** (1 - part)^t, from the part that is taken off and not from 1 - part, which has lost its digits next to 1. */
function keptAfter(part, t) {
  return part < 0.5 ? Math.exp(t * Math.log1p(-part)) : (1 - part) ** t;
}

function stirlingRemainder(z) {
  const square = z * z;
  return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / z;
}

/** log Gamma(z) for z >= 0, by Stirling's series from 20 on; infinite at 0. */
function logGamma(z) {
  let product = 1;
  while (z < 20) {
    product *= z;
    z += 1;
  }
  return (z - 0.5) * Math.log(z) - z + Math.log(2 * Math.PI) / 2 + stirlingRemainder(z) - Math.log(product);
}

/** log Gamma(z + shift) / Gamma(z) for z >= 100, where a difference of logarithms would cancel. */
function logRising(z, shift) {
  const tail = (z + shift - 0.5) * Math.log1p(shift / z) - shift;
  return shift * Math.log(z) + tail + stirlingRemainder(z + shift) - stirlingRemainder(z);
}

/** Distribution function F of Beta(a, b), as a function of y in [0, 1]; its continued fraction is DLMF 8.17.22. */
function betaDistribution(a, b) {
  const constant = logGamma(a + b) - logGamma(a) - logGamma(b);
  const turn = (a + 1) / (a + b + 2);
  return (y) => {
    if (y <= 0) return 0;
    if (y >= 1) return 1;
    const density = Math.exp(constant + a * Math.log(y) + b * Math.log1p(-y));
    return y <= turn ? density / (a * betaFraction(a, b, y)) : 1 - density / (b * betaFraction(b, a, 1 - y));
  };
}

/** The continued fraction 1 + d_1 y / (1 + d_2 y / (1 + ...)) by Lentz's method, fast for y < (a + 1) / (a + b + 2). */
function betaFraction(a, b, y) {
  let value = 1;
  let numerator = 1;
  let denominator = 0;
  for (let n = 1; n < 500; n++) {
    const m = Math.floor(n / 2);
    const even = n % 2 === 0;
    const term = (y * (even ? m * (b - m) : -(a + m) * (a + b + m))) / ((a + n - 1) * (a + n));
    denominator = 1 / (1 + term * denominator);
    numerator = 1 + term / numerator;
    const change = numerator * denominator;
    value *= change;
    if (Math.abs(change - 1) < 1e-15) break;
  }
  return value;
}

/**
 * E (1 - x Y)^t = 2F1(-t, a; a + b; x) over Y ~ Beta(a, b), for a > 0, b >= 0, 0 <= x <= 2 and whole t >= 0.
 *
 * Three sums, of which each is used where its terms do not cancel: the recursion that the mean solves, for few steps; the mixture
 * E (b)_K / (a + b)_K over K ~ Binomial(t, x), for small x t; the expansion in 1 / (x t), a power law with its companion from Y
 * next to 1, for the rest.
 */
function betaMeanPower(a, b, x, t) {
  const expandable = 50 + 4 * (1 + a) * (1 + b);
  if (t < 2 * expandable) return recursedMean(a, b, x, t);
  return x * t < expandable ? mixedMean(a, b, x, t) : expandedMean(a, b, x, t);
}

function recursedMean(a, b, x, t) {
  const share = b / (a + b);
  let student = 1;
  let teacher = 1;
  for (let step = 1; step <= t; step++) {
    student = (1 - x) * student + x * share * teacher;
    teacher = (step * teacher + (a + b) * student) / (a + b + step);
  }
  return student;
}

function mixedMean(a, b, x, t) {
  const odds = x / (1 - x);
  const mean = x * t; // some hundred at most, so that weights up to e^mean do not overflow
  let weight = 1;
  let factor = 1;
  let total = 1;
  let weighted = 1;
  for (let k = 0; k < mean + 9 * Math.sqrt(mean) + 25; k++) {
    weight *= (Math.max(t - k, 0) / (k + 1)) * odds;
    factor *= (b + k) / (a + b + k);
    total += weight;
    weighted += weight * factor;
  }
  return weighted / total;
}

function expandedMean(a, b, x, t) {
  const whole = logGamma(a + b);
  const power = Math.exp(whole - logGamma(b) - logRising(t + 1, a) - a * Math.log(x));
  const decay = (t + b) * Math.log1p(x <= 1 ? -x : x - 2);
  const companion = Math.exp(whole - logGamma(a) - logRising(t + 1, b) + decay - b * Math.log(x));
  const sign = x <= 1 ? Math.cos(Math.PI * b) : 1 - 2 * (t % 2);
  return (
    power * asymptoticSeries(a, 1 - b, (n) => 1 / (x * (t + a + 1 + n))) +
    sign * companion * asymptoticSeries(b, 1 - a, (n) => (x - 1) / (x * (t + b + 1 + n)))
  );
}

/** Sum of (first)_n (second)_n / n! times the product of argument(0) ... argument(n - 1), up to its smallest term. */
function asymptoticSeries(first, second, argument) {
  let term = 1;
  let total = 1;
  for (let n = 0; Math.abs(term) > ROUND_OFF * Math.abs(total); n++) {
    const following = ((term * (first + n) * (second + n)) / (n + 1)) * argument(n);
    if (Math.abs(following) >= Math.abs(term)) break;
    term = following;
    total += term;
  }
  return total;
}
