"""Pictures from arrays and labels. The only room with plotly; knows neither torch nor streamlit."""
