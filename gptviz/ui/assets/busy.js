// Whether the app runs, as Streamlit says on its outermost element.

export function isBusy() {
  const { testScriptState } = document.querySelector("[data-testid=stApp]")?.dataset ?? {};
  return testScriptState !== undefined && testScriptState !== "notRunning";
}
