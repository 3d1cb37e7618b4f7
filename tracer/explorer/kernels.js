/* Averaging kernels as rates: after step t the teacher takes the share r_t of the newest student. r_0 = 1, the anchor's. */

function ratesOf(horizon, rate) {
  const rates = new Float64Array(horizon + 1);
  for (let t = 0; t <= horizon; t++) rates[t] = t === 0 ? 1 : rate(t);
  return rates;
}

const staticRates = (horizon) => ratesOf(horizon, () => 0);

const exponentialRates = (horizon, momentum) => ratesOf(horizon, () => 1 - momentum);

const powerLawRates = (horizon, beta) => ratesOf(horizon, (t) => beta / (beta + t));

/**
 * The Beta(beta, beta) kernel: student t weighs the mass of the distribution between the midpoints to its neighbours.
 *
 * Past the middle the mass is taken from the upper tail, which symmetry makes a lower one: there F is close to 1, and its
 * differences would cancel.
 */
function betaRates(horizon, beta) {
  const distribution = betaDistribution(beta, beta);
  const lower = new Float64Array(horizon + 1);
  const upper = new Float64Array(horizon + 1);
  for (let t = 0; t <= horizon; t++) {
    const firstHalf = 2 * (t + 1) <= horizon + 1;
    const tail = distribution((firstHalf ? t + 1 : horizon - t) / (horizon + 1));
    lower[t] = firstHalf ? tail : 1 - tail;
    upper[t] = firstHalf ? 1 - tail : tail;
  }
  return ratesOf(horizon, (t) => (lower[t] < 0.5 ? lower[t] - lower[t - 1] : upper[t - 1] - upper[t]) / lower[t]);
}

/** A number, or 0 if it is so small that further products would round it to itself, and never fade away. */
const flushed = (value) => (Math.abs(value) < 1e-300 ? 0 : value);

/** Share of the final teacher's weight on the anchor and the students up to each step t = 0 ... T, which ends at 1. */
function remembered(rates) {
  const shares = new Float64Array(rates.length);
  shares[rates.length - 1] = 1;
  for (let t = rates.length - 1; t > 0; t--) shares[t - 1] = flushed(shares[t] * (1 - rates[t]));
  return shares;
}

/** Mean age of what the final teacher averages, as a share of the run: the area under `remembered`. */
function meanAge(shares) {
  let area = 0;
  for (let t = 0; t < shares.length - 1; t++) area += shares[t];
  return area / (shares.length - 1);
}
