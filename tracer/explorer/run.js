/* One run of every strategy under the page's settings: what is drawn and what is printed. */

const EVEN_STEPS = 64;
const LOGARITHMIC_STEPS = 80;
const MEMORY_STRETCHES = 50;

/** Strategies by name: their teacher's rates, their closed form if there is one, their largest stable learning rate. */
const STRATEGIES = {
  flyp: { closedForm: fineTuning, largest: largestWithout },
  static_distillation: { rates: ({ horizon }) => staticRates(horizon), closedForm: staticTeacher, largest: largestWithTeacher },
  ema_distillation: {
    rates: ({ horizon, momentum }) => exponentialRates(horizon, momentum),
    closedForm: exponentialTeacher,
    largest: largestWithExponential,
  },
  power_law: {
    rates: ({ horizon, beta }) => powerLawRates(horizon, beta),
    closedForm: powerLawTeacher,
    largest: largestWithTeacher,
  },
  tracer: { rates: ({ horizon, beta }) => betaRates(horizon, beta), largest: largestWithTeacher },
};

/**
 * Modes of the task: curvatures from 1 down over so many decades, evenly in the logarithm.
 *
 * The initial errors are such that each mode holds the same share of the initial task error.
 */
function spectrum({ modes, decades, metric, strength }) {
  return Array.from({ length: modes }, (_, j) => {
    const curvature = modes > 1 ? 10 ** ((-decades * j) / (modes - 1)) : 1;
    const teacherCurvature = strength * (metric === "data" ? curvature : 1);
    return { curvature, teacherCurvature, initial: 1 / Math.sqrt(curvature * modes) };
  });
}

/** Whole steps at which curves are drawn, from 0 to the horizon: some evenly, some evenly in the logarithm. */
function drawnSteps(horizon) {
  const steps = [0];
  for (let i = 0; i <= EVEN_STEPS; i++) steps.push(Math.round((horizon * i) / EVEN_STEPS));
  for (let i = 0; i <= LOGARITHMIC_STEPS; i++) steps.push(Math.round(horizon ** (i / LOGARITHMIC_STEPS)));
  return inOrder(steps);
}

const inOrder = (steps) => [...new Set(steps)].sort((one, other) => one - other);

function runAll(settings) {
  const modes = spectrum(settings);
  const times = drawnSteps(settings.horizon);
  const strategies = Object.fromEntries(Object.keys(STRATEGIES).map((name) => [name, runOne(name, modes, settings, times)]));
  return { modes, times, strategies };
}

/** Curves and numbers of one strategy; without curves if its learning rate is not stable. */
function runOne(name, modes, settings, times) {
  const { rates, closedForm, largest } = STRATEGIES[name];
  const found = { largest: Math.min(...modes.map((mode) => largest(mode, settings))), ...fading(name, modes, settings) };
  const kernel = rates?.(settings);
  if (kernel) {
    found.remembered = remembered(kernel);
    found.anchorWeight = found.remembered[0];
    found.meanAge = meanAge(found.remembered);
  }
  found.stable = settings.learning_rate <= found.largest;
  if (!found.stable) return found;
  const exact = kernel && modes.map((mode) => recursed(mode, settings, kernel, closedForm ? [settings.horizon] : times));
  const paths = closedForm ? modes.map((mode) => along(closedForm(mode, settings), times)) : exact;
  Object.assign(found, curves(modes, paths, times.length));
  found.errorByMode = paths.map((path) => Math.abs(path.student.at(-1)));
  if (kernel) found.impulse = forceOf(modes, (j) => exact[j].gapSum);
  if (kernel && closedForm) found.disagreement = Math.abs(taskError(exact.map((path) => path.student[0])) - found.residual.at(-1));
  return found;
}

/** How a teacher's force fades: EMA's half-lives or WMA's exponents, in the strongest and the weakest mode. */
function fading(name, modes, settings) {
  const ends = [modes[0], modes.at(-1)];
  if (name === "ema_distillation") return { halfLife: ends.map((mode) => halfLife(mode, settings)) };
  return name === "power_law" || name === "tracer" ? { persistence: ends.map((mode) => persistence(mode, settings)) } : {};
}

function along(closedForm, times) {
  const [student, gap] = [new Float64Array(times.length), new Float64Array(times.length)];
  times.forEach((t, i) => ({ student: student[i], gap: gap[i] } = closedForm(t)));
  return { student, gap };
}

function curves(modes, paths, count) {
  const steps = Array.from({ length: count }, (_, i) => i);
  return {
    residual: steps.map((i) => taskError(paths.map((path) => path.student[i]))),
    moved: steps.map((i) => moved(paths.map((path) => path.student[i]))),
    force: steps.map((i) => forceOf(modes, (j) => paths[j].gap[i])),
  };
}

/** Task error as a share of the initial one, root mean square: all modes began with the same share. */
const taskError = (students) => norm(students) / Math.sqrt(students.length);

/** Change of the embeddings of the task's images as a share of that at the task's optimum, root mean square. */
const moved = (students) => taskError(students.map((student) => 1 - student));

/** Share of the weights outside the task's subspace that weight decay would keep, were its coefficient the strength. */
const keptByWeightDecay = ({ strength, learning_rate, horizon }) => (1 - learning_rate * strength) ** horizon;

/** Norm of the force (of its sum, if the gap is summed) over that of the task's own gradient at the start. */
function forceOf(modes, gap) {
  const force = norm(modes.map(({ teacherCurvature, initial }, j) => teacherCurvature * gap(j) * initial));
  return force / norm(modes.map(({ curvature, initial }) => curvature * initial));
}

/** Euclidean norm, safe from underflow; Math.hypot is, too, but takes several times as long. */
function norm(values) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return 0;
  return largest * Math.sqrt(values.reduce((sum, value) => sum + (value / largest) ** 2, 0));
}

/** Weight of the final teacher on so many equal stretches of the run; the anchor, apart from them, has what is missing to 1. */
function weightByStretch(shares, stretches) {
  const at = (edge) => shares[Math.floor((edge * (shares.length - 1)) / stretches)];
  return Array.from({ length: stretches }, (_, i) => at(i + 1) - at(i));
}
