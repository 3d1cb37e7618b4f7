/* Line charts in SVG, with a cursor that pointer and arrow keys move, and a legend that says what the curves read there. */

const MARGIN = { top: 10, right: 24, bottom: 40, left: 58 };
const HEIGHT = 260;
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

const powerOfTen = (exponent) => `10${[...String(exponent)].map((sign) => SUPERSCRIPTS[sign]).join("")}`;

/** A number in three digits: plain where that is short, else with a power of ten. */
function written(value) {
  if (value === 0) return "0";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "–";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 10 });
  const [digits, exponent] = value.toExponential(1).split("e");
  return `${digits}·${powerOfTen(Number(exponent))}`;
}

/** A positive number rounded down to three digits: what is stable up to a bound is stable up to this. */
function roundedDown(value) {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return Math.floor(value / unit) * unit;
}

/** A linear axis with round ticks, about five. */
function linearAxis(low, high) {
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const ticks = Array.from({ length: Math.floor((high - low) / step + 1e-9) + 1 }, (_, i) => low + i * step);
  return { ticks, text: written, place: (value) => (value - low) / (high - low) };
}

/** A logarithmic axis with a tick at each power of ten, or fewer; on less than two decades also at 2 and 5 times these. */
function logAxis(low, high) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  const every = Math.ceil((to - from) / 7);
  const factors = to - from < 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let exponent = Math.floor(from); exponent <= to; exponent += every) {
    ticks.push(...factors.map((factor) => factor * 10 ** exponent).filter((tick) => tick >= low * 0.999 && tick <= high * 1.001));
  }
  const text = (value) => (value >= 0.01 && value < 1e5 ? written(value) : powerOfTen(Math.round(Math.log10(value))));
  return { ticks, text, place: (value) => (value > 0 ? (Math.log10(value) - from) / (to - from) : NaN) };
}

/** The powers of ten that hold the values above 0, but at most so many decades below the largest; null if there is none. */
function decadesAround(values, most) {
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return null;
  const top = Math.ceil(Math.log10(Math.max(...positive)) - 1e-9);
  const bottom = Math.floor(Math.log10(Math.min(...positive)));
  return [10 ** Math.max(Math.min(bottom, top - 1), top - most), 10 ** top];
}

class Chart {
  /** A chart in a figure that holds a .legend and an svg; the charts in `companions` share its cursor. */
  constructor(figure, companions = []) {
    this.svg = figure.querySelector("svg");
    this.legend = figure.querySelector(".legend");
    this.group = [this, ...companions];
    for (const chart of companions) chart.group = this.group;
    this.index = null; // of the point that is read; null for the last
    this.svg.addEventListener("pointermove", (event) => this.moveTo(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.moveTo(null));
    this.svg.addEventListener("blur", () => this.moveTo(null));
    this.svg.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(([{ contentRect }]) => this.fit(contentRect.width)).observe(this.svg.parentElement);
  }

  /**
   * Show curves: { xs, x, y, xLabel, yLabel, series: [{ name, ys, mark }], reading, empty }.
   *
   * `x` and `y` are axes; `reading(i)` names the point i in words; `mark` is a value drawn as a dot at the left edge; `empty`
   * stands in the picture's place where there is nothing to draw.
   */
  show(content) {
    this.content = content;
    this.draw();
  }

  fit(width) {
    this.width = width;
    this.draw();
  }

  moveTo(index) {
    for (const chart of this.group) {
      chart.index = index;
      chart.draw();
    }
  }

  onKey(event) {
    const last = this.content.xs.length - 1;
    const at = Math.min(this.index ?? last, last);
    const targets = { ArrowLeft: Math.max(at - 1, 0), ArrowRight: Math.min(at + 1, last), Home: 0, End: last, Escape: null };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    this.moveTo(target);
  }

  nearest(event) {
    const at = event.clientX - this.svg.getBoundingClientRect().left;
    const distances = this.content.xs.map((x) => Math.abs(this.left(x) - at));
    return distances.reduce((best, distance, i) => (distance < (distances[best] || Infinity) ? i : best), 0);
  }

  left(x) {
    return MARGIN.left + this.content.x.place(x) * (this.width - MARGIN.left - MARGIN.right);
  }

  top(y) {
    return MARGIN.top + (1 - this.content.y.place(y)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  draw() {
    if (!this.content || !this.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("height", HEIGHT);
    const { empty, series, xs, reading } = this.content;
    const read = Math.min(this.index ?? xs.length - 1, xs.length - 1);
    this.svg.innerHTML = empty ? this.message(empty) : this.grid() + this.curves() + this.cursor(read);
    const entry = ({ name, ys }) => `<li>${swatch(name)}${LOOKS[name].label} <b>${written(ys[read])}</b></li>`;
    this.legend.innerHTML = empty ? "" : `<li class="at">${reading(read)}</li>${series.map(entry).join("")}`;
  }

  message(text) {
    return `<text class="message" x="${this.width / 2}" y="${HEIGHT / 2}" text-anchor="middle">${text}</text>`;
  }

  grid() {
    const { x, y, xLabel, yLabel } = this.content;
    const [right, bottom] = [this.width - MARGIN.right, HEIGHT - MARGIN.bottom];
    const rows = y.ticks.map((tick) => {
      const at = this.top(tick).toFixed(1);
      return `<line class="rule" x1="${MARGIN.left}" x2="${right}" y1="${at}" y2="${at}"/>
        <text x="${MARGIN.left - 8}" y="${at}" dy="0.35em" text-anchor="end">${y.text(tick)}</text>`;
    });
    const columns = x.ticks.map((tick) => {
      const at = this.left(tick).toFixed(1);
      return `<line class="tick" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}"/>
        <text x="${at}" y="${bottom + 18}" text-anchor="middle">${x.text(tick)}</text>`;
    });
    const middle = (MARGIN.top + bottom) / 2;
    return `${rows.join("")}${columns.join("")}
      <line class="axis" x1="${MARGIN.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>
      <text class="label" x="${(MARGIN.left + right) / 2}" y="${HEIGHT - 4}" text-anchor="middle">${xLabel}</text>
      <text class="label" transform="translate(12 ${middle}) rotate(-90)" text-anchor="middle">${yLabel}</text>`;
  }

  curves() {
    const paths = this.content.series.map(({ name, ys, mark }) => {
      const { color, dash } = LOOKS[name];
      const dot = mark > 0 ? `<circle cx="${this.left(this.content.xs[0])}" cy="${this.top(mark)}" r="5" fill="${color}"/>` : "";
      return `<path class="curve" d="${this.line(ys)}" stroke="${color}" stroke-dasharray="${dash}"/>${dot}`;
    });
    // a nested svg clips what falls below the axis
    return `<svg x="0" y="0" width="${this.width}" height="${HEIGHT - MARGIN.bottom}" overflow="hidden">${paths.join("")}</svg>`;
  }

  line(ys) {
    const points = this.content.xs.map((x, i) => [this.left(x), this.top(ys[i])]).filter(([x, y]) => !Number.isNaN(x + y));
    return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${Math.min(y, 1e5).toFixed(1)}`).join("");
  }

  cursor(read) {
    const at = this.left(this.content.xs[read]);
    if (this.index === null || Number.isNaN(at)) return "";
    const bottom = HEIGHT - MARGIN.bottom;
    const dots = this.content.series.map(({ name, ys }) => {
      const top = this.top(ys[read]);
      return top >= 0 && top <= bottom ? `<circle cx="${at}" cy="${top}" r="3.5" fill="${LOOKS[name].color}"/>` : "";
    });
    return `<line class="cursor" x1="${at}" x2="${at}" y1="${MARGIN.top}" y2="${bottom}"/>${dots.join("")}`;
  }
}

/** A short piece of a strategy's line, as legends show it. */
function swatch(name) {
  const { color, dash } = LOOKS[name];
  return `<svg class="swatch" viewBox="0 0 26 8" width="26" height="8" aria-hidden="true"><path d="M1 4H25" stroke="${color}"
    stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
}
