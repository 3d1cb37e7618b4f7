/* Settings: where sliders stand for values, what the address says, and which case it is. */

const SLIDER_STOPS = 200;

/** The value at a slider's stop, in as many digits as a reader would type. */
function valueAt(slider, stop) {
  const share = stop / SLIDER_STOPS;
  const { scale, smallest, largest, whole } = slider;
  if (stop <= 0) return smallest;
  if (stop >= SLIDER_STOPS) return largest;
  if (scale === "log_below_one") return Number((1 - Number(((1 - largest) ** share).toPrecision(2))).toPrecision(12));
  if (scale === "linear") return whole ? Math.round(smallest + share * (largest - smallest)) : Number((share * largest).toFixed(1));
  const from = scale === "log_or_zero" ? largest * 1e-4 : smallest;
  const value = Number((from * (largest / from) ** share).toPrecision(2));
  return whole ? Math.round(value) : value;
}

/** The stop of a slider that is nearest to a value. */
function stopAt(slider, value) {
  const { scale, smallest, largest } = slider;
  if (scale === "log_below_one") return Math.round((SLIDER_STOPS * Math.log(1 - value)) / Math.log(1 - largest));
  if (scale === "linear") return Math.round((SLIDER_STOPS * (value - smallest)) / (largest - smallest));
  if (value <= smallest) return 0;
  const from = scale === "log_or_zero" ? largest * 1e-4 : smallest;
  return Math.max(1, Math.round((SLIDER_STOPS * Math.log(value / from)) / Math.log(largest / from)));
}

/** The number within a slider's range that is nearest to what was asked for, null if that is none, and a note of what changed. */
function understood(slider, text) {
  const asked = text.trim() === "" ? NaN : Number(text.replaceAll(",", "").replace("−", "-"));
  if (!Number.isFinite(asked)) return { value: null, note: `“${text}” is no number: the setting stays as it was.` };
  const within = Math.min(Math.max(asked, slider.smallest), slider.largest);
  const value = slider.whole ? Math.round(within) : within;
  const range = `${slider.smallest} to ${slider.largest}${slider.whole ? ", whole numbers" : ""}`;
  return { value, note: value === asked ? "" : `Takes ${range}: ${text.trim()} became ${value}.` };
}

/** The settings as the part of an address after #. */
const toHash = (settings) =>
  Object.entries(settings)
    .map(([key, value]) => `${key}=${value}`)
    .join("&");

/**
 * Settings from the part of an address after #; what it lacks is the start's.
 *
 * `notes` says by slider what of its value did not stand, `refused` what else was not understood.
 */
function fromHash(hash) {
  const settings = structuredClone(DATA.cases[DATA.start].settings);
  const [notes, refused] = [{}, []];
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const slider = DATA.sliders.find((candidate) => candidate.key === key);
    const { value, note } = slider ? understood(slider, text) : { value: chosen(key, text) };
    if (note) notes[key] = note;
    if (value !== null) settings[key] = value;
    else if (!slider) refused.push(`The address asks for ${key}=${text}, which this page does not take: it was left out.`);
  }
  return { settings, notes, refused };
}

/** The value of a choice that an address spells out; null if there is no such choice or it does not take that value. */
function chosen(key, text) {
  if (Object.hasOwn(DATA.choices, key)) return DATA.choices[key].includes(text) ? text : null;
  const names = text.split(",").filter(Boolean);
  const known = key === "shown" && names.every((name) => Object.hasOwn(LOOKS, name));
  return known ? Object.keys(LOOKS).filter((name) => names.includes(name)) : null;
}

/** Key of the case whose settings these are, whatever the axes; undefined if there is none. */
function caseOf(settings) {
  const compared = (of) => toHash({ ...of, axis: "", memory: "" });
  return Object.keys(DATA.cases).find((key) => compared(DATA.cases[key].settings) === compared(settings));
}
