// The axes of a curve: where a value lies, and which round numbers are written at an axis. Pure.

/** Round numbers from `low` to `high`, about `count` of them: 1, 2 or 5 times a power of ten apart. */
export function evenTicks(low, high, count) {
  const rough = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-9); n += 1) ticks.push(n * step + 0); // no -0
  return ticks;
}

/** 1, 10, 100 ... from `low` to `high`, with 2 and 5 times these where there are few. */
export function logTicks(low, high) {
  const times = high / low > 500 ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    ticks.push(...times.map((by) => by * power).filter((tick) => tick >= low && tick <= high));
  }
  return ticks;
}

/** A function from a value to its place between `start` and `end`, in pixels. */
export function scale(low, high, start, end, log = false) {
  const on = log ? Math.log : (value) => value;
  const width = on(high) - on(low) || 1;
  return (value) => start + ((on(value) - on(low)) / width) * (end - start);
}

/** The lowest and the highest of some numbers, with a little room; null where there is none. */
export function span(numbers) {
  const finite = numbers.filter((value) => Number.isFinite(value));
  if (!finite.length) return null;
  const low = Math.min(...finite);
  const high = Math.max(...finite);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - room, high + room];
}

/** The place in `sorted`, which rises, of what is nearest to `value`; -1 where it is empty. */
export function nearest(sorted, value) {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - sorted[low - 1] <= sorted[low] - value ? low - 1 : high < 0 ? -1 : low;
}

/** The path of a line through points, for SVG. */
export function path(xs, ys, x, y) {
  return xs.map((at, i) => `${i ? "L" : "M"}${x(at).toFixed(1)} ${y(ys[i]).toFixed(1)}`).join("");
}

/** What is written where a visitor points: every number of that step. */
export function words(data, step) {
  const at = nearest(data.steps, step);
  if (at < 0) return "";
  const there = data.steps[at];
  const said = [`step ${there}`, `training ${data.train[at].toFixed(4)}`, `smoothed ${data.smooth[at].toFixed(4)}`];
  const held = nearest(data.valid_steps, there);
  if (held >= 0) said.push(`held-out ${data.valid[held].toFixed(4)} at step ${data.valid_steps[held]}`);
  return said.join(" · ");
}
