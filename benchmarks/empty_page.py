"""The peer for the start of the app: a Streamlit page with one Plotly chart and nothing else."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

st.plotly_chart(go.Figure(go.Heatmap(z=[[1, 0], [0.5, 0.5]], colorscale="Viridis")))
