// Nothing to see: asks the server once, when the page has been at rest for a moment, to do what `data.ask` names.

const REST = 250; // milliseconds; quick clicks and keys come first
const timers = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  clearTimeout(timers.get(parentElement));
  if (data.ask) timers.set(parentElement, setTimeout(() => setTriggerValue("check", data.ask), REST));
  return () => clearTimeout(timers.get(parentElement));
}
