// The presenter's window: what to say, what comes next, how long it has been. All of it comes from the main window.

const begun = Date.now();
const shown = new WeakMap(); // parent element -> what ends its clock and its channel

export default function ({ data, parentElement }) {
  shown.get(parentElement)?.();
  const channel = new BroadcastChannel("gptviz-lecture");
  const make = (tag, name) => Object.assign(document.createElement(tag), { className: name });
  const notes = make("section", "notes");
  const row = make("div", "row");
  const [number, clock] = [make("span", "number"), make("span", "number")];
  const [title, note, next] = [make("h2", "title"), make("div", "note"), make("p", "next")];
  note.textContent = "Waiting for the window with the lecture …";
  const step = (text, label, by) => {
    const button = Object.assign(make("button", ""), { type: "button", textContent: text });
    button.setAttribute("aria-label", label);
    button.onclick = () => channel.postMessage({ lecture: data.lecture, step: by });
    return button;
  };
  row.append(step("‹", "Previous scene", -1), number, step("›", "Next scene", 1), clock);
  notes.append(row, title, note, next);
  parentElement.querySelector(".notes")?.remove();
  parentElement.append(notes);
  const tick = () => {
    const seconds = Math.floor((Date.now() - begun) / 1000);
    const two = (value) => String(value).padStart(2, "0");
    clock.textContent = `${new Date().toTimeString().slice(0, 5)}, ${two(Math.floor(seconds / 60))}:${two(seconds % 60)} elapsed`;
  };
  tick();
  const timer = setInterval(tick, 1000);
  channel.onmessage = ({ data: told }) => {
    if (told.lecture !== data.lecture || !told.scenes) return;
    number.textContent = `${told.scene} / ${told.scenes.length}`;
    title.textContent = told.scenes[told.scene - 1].title;
    note.textContent = told.scenes[told.scene - 1].note || "No note.";
    const after = told.scenes[told.scene];
    next.textContent = after ? `Next: ${after.title}` : "This is the last scene.";
  };
  channel.postMessage({ lecture: data.lecture, hello: true });
  const end = () => {
    clearInterval(timer);
    channel.close();
  };
  shown.set(parentElement, end);
  return end;
}
