// A control that was clicked gives the keyboard back to the page, whose arrow keys step through something.
//
// Who comes to a control with Tab stays in it: there the arrow keys are the control's own. A click that a key made has
// no detail; one of a mouse or of a finger counts from 1.

const TAKE_ARROWS = "[data-testid=stButtonGroup], [data-testid=stCheckbox], [role=option]";

export function giveBack(event) {
  if (event.detail > 0 && event.target.closest?.(TAKE_ARROWS)) setTimeout(() => document.activeElement?.blur());
}
