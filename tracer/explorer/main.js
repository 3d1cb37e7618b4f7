/* The page itself: controls to settings, settings to pictures, table and words. */

const find = (selector) => document.querySelector(selector);
const findAll = (selector) => [...document.querySelectorAll(selector)];

const residualChart = new Chart(find("#residual"));
const forgottenChart = new Chart(find("#forgotten"));
const forceChart = new Chart(find("#force"), [residualChart, forgottenChart]);
const memoryChart = new Chart(find("#remembered"));
const modesChart = new Chart(find("#by-mode"));

let { settings, notes, refused } = fromHash(location.hash);
let results;
let pending = 0; // animation frame in which the page will catch up
let addressTimer;

function change(changed, told = {}) {
  settings = { ...settings, ...changed };
  [notes, refused] = [told, []];
  pending ||= requestAnimationFrame(update);
}

function update() {
  pending = 0;
  const started = performance.now();
  results = runAll(settings);
  showControls();
  showCharts();
  showTable();
  showWords();
  find("#milliseconds").textContent = Math.ceil(performance.now() - started);
  rememberAddress();
}

/** The address follows at leisure: browsers refuse to change it many times a second. */
function rememberAddress() {
  clearTimeout(addressTimer);
  addressTimer = setTimeout(() => history.replaceState(null, "", `#${toHash(settings)}`), 200);
}

function showControls() {
  for (const slider of DATA.sliders) {
    const value = settings[slider.key];
    const [range, box] = [find(`#${slider.key}`), find(`#${slider.key}-value`)];
    if (valueAt(slider, Number(range.value)) !== value) range.value = stopAt(slider, value);
    range.setAttribute("aria-valuetext", `${value} ${slider.unit}`.trim());
    if (box !== document.activeElement) box.value = value;
    find(`#${slider.key}-note`).textContent = notes[slider.key] ?? "";
  }
  for (const input of findAll("input[type=radio]")) input.checked = settings[input.name] === input.value;
  for (const input of findAll("input[type=checkbox]")) input.checked = settings.shown.includes(input.value);
  const shownCase = caseOf(settings);
  for (const button of findAll("button[data-case]")) button.setAttribute("aria-pressed", button.dataset.case === shownCase);
  find("#story").textContent = shownCase ? DATA.cases[shownCase].story : "Settings of your own; the address bar holds them.";
}

/** Strategies that can be drawn, with what they gave; a curve's values are those that `pick` takes. */
function drawn(pick) {
  const names = Object.keys(LOOKS).filter((name) => settings.shown.includes(name) && results.strategies[name].stable);
  return names.map((name) => ({ name, ...pick(results.strategies[name]) })).filter(({ ys }) => ys);
}

function showCharts() {
  const xs = results.times;
  const x = settings.axis === "log" ? logAxis(1, settings.horizon) : linearAxis(0, settings.horizon);
  const reading = (i) => `step ${xs[i].toLocaleString("en-US")}`;
  const residuals = drawn(({ residual }) => ({ ys: residual }));
  const forces = drawn(({ force, remembered }) => ({ ys: remembered && force }));
  const steps = { xs, x, xLabel: "training step", reading };
  residualChart.show({ ...steps, ...onDecades(residuals, 4, "task error / initial task error", "Nothing to draw.") });
  forgottenChart.show({ ...steps, ...asShare(drawn(({ moved }) => ({ ys: moved })), "change / change at the optimum") });
  forceChart.show({ ...steps, ...onDecades(forces, 6, "force / initial task gradient", noForce()) });
  showMemory();
  const { modes } = results;
  const errors = drawn(({ errorByMode }) => ({ ys: errorByMode }));
  modesChart.show({
    ...onDecades(errors, 4, "error left / initial error", "Nothing to draw."),
    xs: modes.map(({ curvature }) => curvature),
    x: spectrumAxis(modes),
    xLabel: "curvature of the mode (strongest = 1)",
    reading: (i) => `mode ${i + 1}, curvature ${written(modes[i].curvature)}`,
  });
}

function onDecades(series, most, yLabel, empty) {
  const range = decadesAround(series.flatMap(({ ys }) => [...ys]), most);
  return range ? { series, y: logAxis(...range), yLabel } : { series, empty };
}

/** Evenly from 0 to 1, or to the largest value beyond: large steps overshoot. */
function asShare(series, yLabel) {
  const largest = Math.max(1, ...series.flatMap(({ ys }) => ys));
  return { series, y: linearAxis(0, largest), yLabel, empty: series.length ? undefined : "Nothing to draw." };
}

const noForce = () => (settings.strength === 0 ? "No force: the strength is 0." : "No teacher to draw.");

/** From the strongest mode at the left to the weakest; modes that are all alike stand in the middle. */
function spectrumAxis(modes) {
  const weakest = modes.at(-1).curvature;
  const axis = weakest < 1 ? logAxis(weakest, 1) : logAxis(0.5, 2);
  return { ...axis, place: (value) => 1 - axis.place(value) };
}

function showMemory() {
  const x = { ...linearAxis(0, 100), text: (value) => `${value} %` };
  const content = settings.memory === "cumulated" ? cumulatedMemory() : weightMemory();
  const empty = content.series.length ? undefined : "No teacher to draw.";
  memoryChart.show({ ...content, x, xLabel: "training progress", empty });
}

function cumulatedMemory() {
  const { times } = results;
  const at = inOrder([...times, ...times.map((t) => settings.horizon - t)]); // curves may rise steeply at either end
  const xs = at.map((t) => (100 * t) / settings.horizon);
  return {
    xs,
    series: drawn(({ remembered }) => ({ ys: remembered && at.map((t) => remembered[t]), mark: remembered?.[0] })),
    reading: (i) => `up to ${written(xs[i])} % of the run`,
    y: linearAxis(0, 1),
    yLabel: "share of the teacher's weight",
  };
}

/** Weights as stairs: each stretch of the run has a point at either edge. */
function weightMemory() {
  const stretches = Math.min(MEMORY_STRETCHES, settings.horizon);
  const edges = Array.from({ length: stretches }, (_, i) => [i, i + 1].map((edge) => (100 * edge) / stretches)).flat();
  return {
    xs: edges,
    series: drawn(({ remembered }) => ({
      ys: remembered && weightByStretch(remembered, stretches).flatMap((weight) => [weight, weight]),
      mark: remembered?.[0],
    })),
    reading: (i) => `${written(edges[i - (i % 2)])} to ${written(edges[i - (i % 2) + 1])} % of the run`,
    y: logAxis(1e-4, 1),
    yLabel: `weight on each ${written(100 / stretches)} % of the run`,
  };
}

function showTable() {
  const rows = Object.entries(results.strategies).map(([name, found]) => {
    const cells = [
      ["residual", found.residual?.at(-1)],
      ["moved", found.moved?.at(-1)],
      ["force", found.impulse === undefined ? undefined : found.force.at(-1)],
      ["impulse", found.impulse],
      ["anchor-weight", found.anchorWeight],
      ["mean-age", found.meanAge === undefined ? undefined : 100 * found.meanAge],
    ].map(([key, value]) => `<td>${number(key, value, found.stable)}</td>`);
    const heading = `<th scope="row">${swatch(name)} ${LOOKS[name].label}</th>`;
    const last = `<td>${fades(name, found)}</td><td>${number("largest", found.largest, true)}</td>`;
    return `<tr data-strategy="${name}">${heading}${cells.join("")}${last}</tr>`;
  });
  find("#numbers tbody").innerHTML = rows.join("");
}

/** A number for the table, in full in its value attribute. */
function number(key, value, stable) {
  if (value === undefined) return stable ? "–" : "unstable";
  return `<data class="${key}" value="${value}">${written(value)}</data>`;
}

function fades(name, { halfLife, persistence, stable }) {
  if (!stable || name === "flyp") return stable ? "–" : "unstable";
  if (name === "static_distillation") return "never";
  if (halfLife && halfLife.every((steps) => steps === 0)) return "at once";
  const ends = halfLife ?? persistence;
  const texts = ends.map((end) => number(halfLife ? "half-life" : "persistence", end, stable));
  const range = written(ends[0]) === written(ends[1]) ? texts[0] : texts.join(" to ");
  return halfLife ? `halves every ${range} steps` : `like <i>t</i><sup>−κ</sup>, κ = ${range}`;
}

function showWords() {
  const unstable = Object.entries(results.strategies)
    .filter(([, { stable }]) => !stable)
    .map(([name, { largest }]) => `${LOOKS[name].label} (stable up to ${written(roundedDown(largest))})`);
  const stable = Math.min(...Object.values(results.strategies).map(({ largest }) => largest));
  if (unstable.length) find("#learning_rate-note").append(` Some diverge: all are stable up to ${written(roundedDown(stable))}.`);
  const kept = keptByWeightDecay(settings);
  find("#decayed").textContent = Math.abs(kept) > 1 ? "diverge" : `keep ${written(100 * kept)} %`;
  const warning = `At a learning rate of ${settings.learning_rate} these diverge and are not drawn: ${unstable.join(", ")}. `;
  const remedy = `Lower the learning rate${settings.strength > 0 ? " or the strength" : ""}.`;
  find("#notice").textContent = [...refused, ...(unstable.length ? [warning + remedy] : [])].join(" ");
  const differences = Object.values(results.strategies).flatMap(({ disagreement }) => disagreement ?? []);
  find("#agreement").textContent = differences.length ? written(Math.max(...differences)) : "–";
}

/** The curves as comma-separated values, a line a drawn step. */
function table() {
  const stable = Object.entries(results.strategies).filter(([, found]) => found.stable);
  const heading = ["step", ...stable.flatMap(([name]) => [`${name}_residual`, `${name}_moved`, `${name}_force`])];
  const lines = results.times.map((t, i) => [t, ...stable.flatMap(([, { residual, moved, force }]) => [residual[i], moved[i], force[i]])]);
  return [heading, ...lines].map((line) => line.join(",")).join("\n");
}

function download() {
  const link = document.createElement("a");
  link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(table())}`;
  link.download = "explorer.csv";
  link.click();
}

for (const slider of DATA.sliders) {
  find(`#${slider.key}-hint`).insertAdjacentHTML("afterend", `<output id="${slider.key}-note" for="${slider.key}-value"></output>`);
  const [range, box] = [find(`#${slider.key}`), find(`#${slider.key}-value`)];
  range.addEventListener("input", () => change({ [slider.key]: valueAt(slider, Number(range.value)) }));
  box.addEventListener("change", () => {
    const { value, note } = understood(slider, box.value);
    box.value = value ?? settings[slider.key];
    change({ [slider.key]: value ?? settings[slider.key] }, { [slider.key]: note });
  });
}
for (const input of findAll("input[type=radio]")) input.addEventListener("change", () => change({ [input.name]: input.value }));
for (const input of findAll("input[type=checkbox]")) {
  input.insertAdjacentHTML("afterend", swatch(input.value));
  input.addEventListener("change", () => change({ shown: findAll("input[type=checkbox]:checked").map(({ value }) => value) }));
}
for (const button of findAll("button[data-case]")) {
  button.addEventListener("click", () => change(DATA.cases[button.dataset.case].settings));
}
find("#download").addEventListener("click", download);
addEventListener("hashchange", ({ newURL }) => {
  ({ settings, notes, refused } = fromHash(new URL(newURL).hash));
  update();
});
if (matchMedia("(max-width: 45rem)").matches) find("#settings").open = Object.keys(notes).length > 0;
update();
