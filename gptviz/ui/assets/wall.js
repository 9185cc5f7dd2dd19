// All heads of a model, one small picture each: layers down, heads across. A click says which one was meant.

export default function ({ data, parentElement, setTriggerValue }) {
  let wall = parentElement.querySelector(".wall");
  if (!wall) {
    wall = document.createElement("div");
    wall.className = "wall";
    parentElement.appendChild(wall);
  }
  const heads = data.rows[0].length;
  wall.style.gridTemplateColumns = `1.6rem repeat(${heads}, minmax(0, 1fr))`;
  const label = (className, text) => {
    const cell = document.createElement("div");
    cell.className = className;
    cell.textContent = text;
    return cell;
  };
  const cells = [label("corner", ""), ...data.rows[0].map((_, head) => label("head", `.${head}`))];
  data.rows.forEach((row, layer) => {
    cells.push(label("layer", `${layer}`), ...row.map((png, head) => picture(png, layer, head)));
  });
  wall.replaceChildren(...cells);
  wall.onclick = (event) => {
    const button = event.target.closest("button");
    if (button) setTriggerValue("pick", [Number(button.dataset.layer), Number(button.dataset.head)]);
  };
}

function picture(png, layer, head) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = `head ${layer}.${head}`;
  button.setAttribute("aria-label", `Attention of head ${layer}.${head}: open it`);
  button.dataset.layer = layer;
  button.dataset.head = head;
  const image = document.createElement("img");
  image.src = `data:image/png;base64,${png}`;
  image.alt = "";
  button.appendChild(image);
  return button;
}
