"""A lecture as slides: one HTML file that needs no network, or a PowerPoint file. Pictures by `gptviz.pictures`."""

from __future__ import annotations

import html as markup
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import gptviz
from gptviz import export, lecture, pictures
from gptviz.lecture.checking import in_turn
from gptviz.places import TRANSFORMER_PAGES
from gptviz.provenance import Provenance, provenance

if TYPE_CHECKING:
    from gptviz.lecture import Lecture, Scene

FIRST = {False: ("gpt", "My dog has fleas"), True: ("transformer", "Ich habe Hunger.")}  # kind and sentence of the app
SLIDE = 13.333, 7.5  # inches
PICTURE = 0.6, 1.75, 12.1, 5.0  # left, top, width and height of the room for the picture
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<style>
body {{ margin: 0; font: 22px/1.4 system-ui, sans-serif; color: #16202b; background: #fff }}
section {{ display: none; box-sizing: border-box; height: 100vh; padding: 3vh 4vw; flex-direction: column; gap: 1.5vh }}
section.now {{ display: flex }}
h1 {{ font-size: 1.7em; margin: 0 }} p {{ margin: 0 }}
figure {{ flex: 1; min-height: 0; margin: 0 }} figure svg {{ width: 100%; height: 100% }}
aside {{ display: none; font-size: 0.75em; border-top: 1px solid #68727d; padding-top: 1vh }}
body.notes aside {{ display: block }} footer {{ font-size: 0.5em; color: #68727d }}
@media print {{ section {{ display: flex; page-break-after: always }} aside {{ display: block }} }}
</style></head><body>
{slides}
<script>
const slides = [...document.querySelectorAll("section")];
let at = Math.min(Math.max(parseInt(location.hash.slice(1)) || 1, 1), slides.length) - 1;
const show = (to) => {{
  at = Math.min(Math.max(to, 0), slides.length - 1);
  slides.forEach((slide, i) => slide.classList.toggle("now", i === at));
  history.replaceState(null, "", "#" + (at + 1));
}};
addEventListener("keydown", ({{ key }}) => {{
  if (["ArrowRight", "PageDown", " "].includes(key)) show(at + 1);
  else if (["ArrowLeft", "PageUp"].includes(key)) show(at - 1);
  else if (key === "Home" || key === "End") show(key === "Home" ? 0 : slides.length - 1);
  else if (key === "n") document.body.classList.toggle("notes");
}});
addEventListener("click", () => show(at + 1));
show(at);
</script></body></html>
"""


class Slide(NamedTuple):
    """A scene with its picture, None where its page has none that stands still."""

    number: int
    of: int
    scene: Scene
    picture: Any
    source: Provenance


def slides(talk: Lecture) -> Iterator[Slide]:
    """The scenes drawn one by one, to show how far it is.

    Raises:
        ValueError: before the first one, if a scene asks for what is not here.
    """
    if problems := lecture.check(talk):
        raise ValueError("\n".join(problems))
    for number, scene in enumerate(talk.scenes, 1):
        kind, text = FIRST[scene.page in TRANSFORMER_PAGES]
        model, text = gptviz.load(scene.model or in_turn(kind)[0]), scene.text or text
        known = scene.page in pictures.DRAWN and not pictures.other_picture(scene.page, scene.settings)
        picture = pictures.draw(scene.page, model, text, scene.settings) if known else None
        source = provenance(model, text, scene.settings, scene.link())
        yield Slide(number, len(talk.scenes), scene, picture, source)


def to_html(talk: Lecture, drawn: Iterator[Slide] | None = None) -> str:
    """One HTML file: arrow keys or a click turn the slides, n shows the notes, printing gives a handout with them.

    Args:
        drawn: the slides, where the caller wants to see each as it comes; `slides(talk)` without.
    """
    made = "\n".join(map(section, drawn or slides(talk)))
    return PAGE.format(title=markup.escape(talk.title), slides=made)


def section(slide: Slide) -> str:
    """One slide of the HTML file, its picture inline, as vectors."""
    scene = slide.scene
    svg = ""
    if slide.picture is not None:
        text = export.render(slide.picture, "svg", width=1100).decode()
        svg = own_names(text[text.index("<svg") :], f"s{slide.number}-")
    foot = " · ".join((f"{slide.number} / {slide.of}", *slide.source.lines()))
    return (
        f"<section><h1>{markup.escape(scene.title)}</h1><p>{markup.escape(scene.caption)}</p><figure>{svg}</figure>"
        f"<aside>{markup.escape(scene.note)}</aside><footer>{markup.escape(foot)}</footer></section>"
    )


def own_names(svg: str, prefix: str) -> str:
    """The picture with names of its own: those of two pictures on one page must not meet."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\1{prefix}", svg)


def to_pptx(talk: Lecture, drawn: Iterator[Slide] | None = None) -> bytes:
    """A PowerPoint file of 16 to 9: title and caption as text, the note as the slide's note.

    Pictures are vectors, with text as text, and beside each a PNG of 3,200 pixels for programs that know no SVG.
    """
    from pptx import Presentation
    from pptx.util import Inches, Pt

    deck = Presentation()
    deck.slide_width, deck.slide_height = map(Inches, SLIDE)
    deck.core_properties.title, deck.core_properties.author = talk.title, talk.author
    for each in drawn or slides(talk):
        page = deck.slides.add_slide(deck.slide_layouts[6])
        foot = f"{each.number} / {each.of}   " + "   ".join(each.source.lines())
        texts = ((each.scene.title, 0.3, 36), (each.scene.caption, 1.0, 22), (foot[:400], 7.0, 9))
        for text, top, size in texts:
            box = page.shapes.add_textbox(Inches(0.6), Inches(top), Inches(12.1), Inches(0.6)).text_frame
            box.word_wrap, box.text = True, legal(text)
            box.paragraphs[0].font.size = Pt(size)
        if each.picture is not None:
            png, svg = (export.render(each.picture, kind, each.source, width=1600) for kind in ("png", "svg"))
            bring_vectors(page, place(page, png), svg, each.number)
        page.notes_slide.notes_text_frame.text = legal(each.scene.note)
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()


def place(page: Any, png: bytes) -> Any:
    """Put a picture into the middle of its room, as large as it fits; returns its shape."""
    from pptx.util import Inches

    left, top, width, height = map(Inches, PICTURE)
    put = page.shapes.add_picture(io.BytesIO(png), left, top)
    scale = min(width / put.width, height / put.height)
    put.width, put.height = int(put.width * scale), int(put.height * scale)
    put.left, put.top = left + (width - put.width) // 2, top + (height - put.height) // 2
    return put


VECTORS = """<a:extLst xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:ext uri="{uri}"><asvg:svgBlip
 xmlns:asvg="http://schemas.microsoft.com/office/drawing/2016/SVG/main"
 xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" r:embed="{part}"/></a:ext></a:extLst>"""
SVG_BLIP = "{96DAC541-7B7A-43D3-8B79-37D633B846F1}"  # the extension's name (MS-ODRAWXML, section 2.2.1)


def bring_vectors(page: Any, shape: Any, svg: bytes, number: int) -> None:
    """Let programs that can draw an SVG in place of the PNG of a shape; the others pass over the extension."""
    from pptx.opc.constants import RELATIONSHIP_TYPE
    from pptx.opc.package import Part
    from pptx.opc.packuri import PackURI
    from pptx.oxml import parse_xml

    part = Part(PackURI(f"/ppt/media/vectors{number}.svg"), "image/svg+xml", page.part.package, svg)
    name = page.part.relate_to(part, RELATIONSHIP_TYPE.IMAGE)
    (blip,) = shape._element.xpath(".//a:blip")
    blip.append(parse_xml(VECTORS.format(uri=SVG_BLIP, part=name)))


def legal(text: str) -> str:
    """A text without the signs that XML cannot hold."""
    return "".join(c if c in "\n\t" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else " " for c in text)
