// All heads of a model, one small picture each: layers down, heads across. A click says which one was meant.
// Pictures that change, as while a model is trained, change in their places.

export default function ({ data, parentElement, setTriggerValue }) {
  let wall = parentElement.querySelector(".wall");
  if (!wall) {
    wall = document.createElement("div");
    parentElement.appendChild(wall);
  }
  const heads = data.rows[0].length;
  const shape = JSON.stringify([data.rows.length, heads, data.what]);
  if (wall.dataset.shape !== shape) build(wall, data, heads);
  wall.dataset.shape = shape;
  const images = wall.querySelectorAll("img");
  data.rows.flat().forEach((png, at) => {
    images[at].src = `data:image/png;base64,${png}`;
  });
  const [layer, head] = data.chosen ?? [];
  for (const button of wall.querySelectorAll("button")) {
    const chosen = Number(button.dataset.layer) === layer && Number(button.dataset.head) === head;
    button.classList.toggle("chosen", chosen);
    if (data.chosen) button.setAttribute("aria-pressed", chosen);
  }
  wall.onclick = (event) => {
    const button = event.target.closest("button");
    if (button) setTriggerValue("pick", [Number(button.dataset.layer), Number(button.dataset.head)]);
  };
}

function build(wall, data, heads) {
  wall.className = `wall${data.what ? " compact" : ""}`;
  const widest = data.what ? "8rem" : "1fr";
  wall.style.gridTemplateColumns = `1.6rem repeat(${heads}, minmax(0, ${widest}))`;
  const label = (className, text) => {
    const cell = document.createElement("div");
    cell.className = className;
    cell.textContent = text;
    return cell;
  };
  const cells = [label("corner", ""), ...data.rows[0].map((_, head) => label("head", `.${head}`))];
  data.rows.forEach((row, layer) => {
    cells.push(label("layer", `${layer}`), ...row.map((_, head) => picture(layer, head, data.what ?? "open it")));
  });
  wall.replaceChildren(...cells);
}

function picture(layer, head, what) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = `head ${layer}.${head}`;
  button.setAttribute("aria-label", `Attention of head ${layer}.${head}: ${what}`);
  button.dataset.layer = layer;
  button.dataset.head = head;
  const image = document.createElement("img");
  image.alt = "";
  button.appendChild(image);
  return button;
}
