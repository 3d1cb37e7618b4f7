/*
 * One eigenmode of the task under a moving teacher, in units of its initial error: student u, teacher ubar, gap g = u - ubar.
 *
 *   u_{t+1} = u_t - eta (sigma u_t + l g_t),   ubar_{t+1} = ubar_t + r_{t+1} (u_{t+1} - ubar_t),   u_0 = ubar_0 = 1
 *
 * A mode has a curvature sigma, to which the teacher adds its own, l. Each closed form takes a mode and settings and returns
 * t -> { student, gap }.
 */

function fineTuning({ curvature }, { learning_rate }) {
  return (t) => ({ student: keptAfter(learning_rate * curvature, t), gap: 0 });
}

function staticTeacher({ curvature, teacherCurvature }, { learning_rate }) {
  const total = curvature + teacherCurvature;
  const [q, p] = [curvature / total, teacherCurvature / total];
  return (t) => ({
    student: p + q * keptAfter(learning_rate * total, t),
    gap: -q * lostAfter(learning_rate * total, t),
  });
}

/** The EMA: two factors per step, theta_plus and theta_minus. */
function exponentialTeacher(mode, { learning_rate, momentum }) {
  const { plus, minus, leftPlus, leftMinus, distance, lift } = exponentialFactors(mode, learning_rate, momentum);
  const plusPower = (t) => (leftPlus < 0.5 ? keptAfter(leftPlus, t) : plus ** t);
  const minusPower = (t) => (leftMinus < 0.5 ? keptAfter(leftMinus, t) : minus ** t);
  const powerDifference = (t) => {
    if (distance < plus / 2) {
      const share = distance / plus;
      return (plusPower(t) / plus) * (share > 0 ? lostAfter(share, t) / share : t);
    }
    return distance > 0 ? (plusPower(t) - minusPower(t)) / distance : Number(t === 1);
  };
  return (t) => ({
    student: minusPower(t) + leftMinus * lift * powerDifference(t),
    gap: -momentum * learning_rate * mode.curvature * powerDifference(t),
  });
}

/**
 * theta_plus >= m >= theta_minus and their distances from 1, none by a difference that cancels.
 *
 * Relative to m they are the roots of z^2 - d z - (1 - m) m b: of opposite sign, so that the larger comes from the quadratic
 * formula and the smaller from their product. Then 1 - theta_plus = (1 - m) eta sigma / (1 - theta_minus).
 */
function exponentialFactors({ curvature, teacherCurvature }, learning_rate, momentum) {
  const [data, held, rate] = [learning_rate * curvature, learning_rate * teacherCurvature, 1 - momentum];
  const difference = rate - data - momentum * held;
  const distance = Math.hypot(difference, 2 * Math.sqrt(rate * momentum * held));
  const larger = (Math.abs(difference) + distance) / 2;
  const smaller = larger > 0 ? (rate * momentum * held) / larger : 0;
  const [above, below] = difference >= 0 ? [larger, smaller] : [smaller, larger];
  const [plus, leftMinus] = [momentum + above, rate + below];
  const minus = plus > 0 ? ((1 - data - held) * momentum) / plus : -below;
  const lift = difference >= 0 ? above / rate : (momentum * held) / below; // (theta_plus - m) / (1 - m)
  return { plus, minus, leftPlus: (rate * data) / leftMinus, leftMinus, distance, lift };
}

/**
 * The power-law WMA, with x = eta (sigma + l):
 *
 *   u_t = 2F1(-t, beta q; beta; x),   g_t = -(q x t / (beta + 1)) 2F1(1 - t, beta q + 1; beta + 2; x)
 */
function powerLawTeacher({ curvature, teacherCurvature }, { learning_rate, beta }) {
  const total = curvature + teacherCurvature;
  const [q, p, x] = [curvature / total, teacherCurvature / total, learning_rate * total];
  return (t) => ({
    student: betaMeanPower(beta * q, beta * p, x, t),
    gap: t === 0 ? 0 : -((q * x * t) / (beta + 1)) * betaMeanPower(beta * q + 1, beta * p + 1, x, t - 1),
  });
}

/** Student and gap of any kernel at the given steps, and the gap's sum over the run, by the recursion; the gap is kept as such. */
function recursed({ curvature, teacherCurvature }, { learning_rate }, rates, times) {
  const student = new Float64Array(times.length);
  const gap = new Float64Array(times.length);
  let [u, g, gapSum, next] = [1, 0, 0, 0];
  for (let t = 0; ; t++) {
    if (t === times[next]) {
      student[next] = u;
      gap[next++] = g;
    }
    if (t === rates.length - 1) return { student, gap, gapSum };
    gapSum += g;
    const moved = -learning_rate * (curvature * u + teacherCurvature * g);
    u += moved;
    g = (1 - rates[t + 1]) * (g + moved);
  }
}

/** Largest stable learning rate of a mode: 2 / (sigma + l), for an EMA 2 / (sigma + 2 m l / (1 + m)). */
const largestWithTeacher = ({ curvature, teacherCurvature }) => 2 / (curvature + teacherCurvature);
const largestWithout = ({ curvature }) => 2 / curvature;
const largestWithExponential = ({ curvature, teacherCurvature }, { momentum }) => 2 / (curvature + ((2 * momentum) / (1 + momentum)) * teacherCurvature);

/** Steps in which an EMA's gap halves once its faster factor has died out. */
function halfLife(mode, { learning_rate, momentum }) {
  const { plus, minus, leftPlus } = exponentialFactors(mode, learning_rate, momentum);
  const slow = leftPlus < 0.5 ? -Math.log1p(-leftPlus) : -Math.log(plus);
  return Math.LN2 / Math.min(slow, -Math.log(Math.abs(minus)));
}

/** Exponent kappa = beta sigma / (sigma + l) of the power law by which a WMA's student, teacher and gap fall. */
const persistence = ({ curvature, teacherCurvature }, { beta }) => (beta * curvature) / (curvature + teacherCurvature);
