// Nothing to see: a control that was clicked gives the keyboard back.

import { giveBack } from "./give_back.js";

export default function () {
  document.addEventListener("click", giveBack, true); // controls tell nobody above them of a click
  return () => document.removeEventListener("click", giveBack, true);
}
