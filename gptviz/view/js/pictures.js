// The pictures that are drawn, by mode. Each may have: `layout`, `paint` and `hover` to draw with, `point` for hands,
// `reveal` where to scroll to, `where` something stands, and a `note` for the legend.

import { drawnText, layoutLines, paintLines, paintLinesHover, pointLines, revealToken } from "./lines_view.js";
import { layoutMatrix, paintMatrix, paintMatrixHover, placeOfCell } from "./matrix.js";
import { pointMatrix } from "./matrix_pointer.js";
import {
  layoutOverview, paintOverview, paintOverviewHover, placeOfHead, pointOverview, revealHead,
} from "./overview.js";

export const PICTURES = {
  overview: {
    layout: layoutOverview, paint: paintOverview, hover: paintOverviewHover, point: pointOverview, reveal: revealHead,
    where: placeOfHead,
  },
  matrix: { layout: layoutMatrix, paint: paintMatrix, hover: paintMatrixHover, point: pointMatrix, where: placeOfCell },
  lines: {
    layout: layoutLines, paint: paintLines, hover: paintLinesHover, point: pointLines, reveal: revealToken,
    note: drawnText,
  },
};
