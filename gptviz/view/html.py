"""A view as one HTML page that holds all it needs: script, style and data. It asks no network for anything."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING

from gptviz.view import script

if TYPE_CHECKING:
    from gptviz.view.state import ViewState
    from gptviz.view.views import AttentionView

MOST_EXACT_BYTES = 700_000  # of float32 weights in a page; past that it has codes only
FRAME_MARGIN = 16  # pixels around the view in a notebook's frame

# The page may run its own script and nothing else: no request leaves it, whatever the tokens say.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: {margin}px; background: var(--gv-background); color: var(--gv-text); }}
:root {{ --gv-text: #16202b; --gv-background: #ffffff; --gv-primary: #0b6a94; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --gv-text: #e6edf3; --gv-background: #0f151c; --gv-primary: #5cbfe6; }}
}}
{style}
</style>
</head>
<body>
<div id="gptviz-view"></div>
<script type="module">
{engine}
const blobs = {blobs};
const bytesOf = (text) => {{
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}};
for (const blob of blobs) putBlob(bytesOf(blob));
const theme = matchMedia("(prefers-color-scheme: dark)");
const mounted = mount(document.getElementById("gptviz-view"), {{
  id: {id}, state: {state}, height: {height}, dark: theme.matches, onState() {{}}, onNeed() {{}},
}});
theme.addEventListener("change", () => mounted.update({{ dark: theme.matches }}));
</script>
</body>
</html>
"""


def page(view: AttentionView, height: int, selection: ViewState) -> str:
    """The page of `AttentionView.html`."""
    state = selection.fit(view.shape)
    return PAGE.format(
        policy=POLICY,
        title=html.escape(view.title or "Attention"),
        margin=FRAME_MARGIN // 2,
        style=script.style(),
        engine=inside_script(script.joined()),
        blobs=json.dumps([base64.b64encode(blob).decode() for blob in blobs_of(view, state)]),
        id=json.dumps(view.id),
        state=inside_script(json.dumps(state.to_json())),
        height=int(height),
    )


def blobs_of(view: AttentionView, state: ViewState) -> list[bytes]:
    """What a page carries: the overview, all exact weights while they are few, else the chosen heads of a long text."""
    n_layers, n_heads, t, s = view.shape
    blobs = [view.overview()]
    if n_layers * n_heads * t * s * 4 <= MOST_EXACT_BYTES:
        return blobs + [view.window(i, 0, t, 0, s) for i in range(n_layers * n_heads)]
    if view.factor > 1:
        blobs += [view.head(i) for i in dict.fromkeys((state.layer * n_heads + state.head, *state.pins))]
    return blobs


def inside_script(text: str) -> str:
    """JavaScript as it may stand inside a script element: nothing in it ends the element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def frame(view: AttentionView, height: int = 640) -> str:
    """The page in a frame that may run its script but has no part in the notebook around it."""
    return (
        f'<iframe srcdoc="{html.escape(page(view, height, view.state))}" sandbox="allow-scripts" '
        f'allow="fullscreen" title="{html.escape(view.title or "Attention", quote=True)}" loading="lazy" '
        f'style="width: 100%; height: {height + 2 * FRAME_MARGIN}px; border: 0"></iframe>'
    )


def with_picture(framed: str, png: bytes, title: str) -> str:
    """The frame, and a picture that is seen only where the frame is not: sites that show notebooks take frames out."""
    picture = base64.b64encode(png).decode()
    return (
        f"{framed}<style>iframe ~ .gptviz-still {{ display: none }}</style>"
        f'<img class="gptviz-still" alt="{html.escape(title or "Attention", quote=True)}" '
        f'style="max-width: 100%" src="data:image/png;base64,{picture}">'
    )
