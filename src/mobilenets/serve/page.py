"""The server's page: a form that sends an image to `/predict` and shows the answer."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mobilenets.serve.model import ServedModel

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; connect-src 'self'"


def form_page(models: Iterable[ServedModel]) -> str:
    """The page, which is self-contained."""
    options = "".join(
        f"<option value='{escape(model.name)}'>{escape(model.name)}: {escape(model.predictor.manifest.task)}</option>"
        for model in models
    )
    return _PAGE.replace("{options}", options)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mobilenets serve</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
  body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
  form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; }
  label { display: grid; gap: .25rem; }
  input, select, button { font: inherit; padding: .4rem .6rem; }
  img { max-width: 100%; margin-top: 1rem; }
  pre { overflow: auto; padding: 1rem; border: 1px solid; border-radius: .5rem; white-space: pre-wrap; }
</style>
<h1>Predict an image</h1>
<form id="form" method="post" enctype="multipart/form-data" action="/predict">
  <label>Model <select id="model">{options}</select></label>
  <label>Image <input id="image" name="image" type="file" accept="image/*" required></label>
  <label>API key, if the server asks for one <input id="key" type="password" autocomplete="off"></label>
  <button>Predict</button>
</form>
<p id="status" role="status"></p>
<img id="drawn" alt="" hidden>
<pre id="answer" hidden></pre>
<script>
  const part = (id) => document.getElementById(id);
  async function ask(draw) {
    const headers = part("key").value ? {Authorization: "Bearer " + part("key").value} : {};
    const query = new URLSearchParams({model: part("model").value, ...(draw ? {draw: "1"} : {})});
    const response = await fetch("/predict?" + query, {method: "POST", headers, body: new FormData(part("form"))});
    if (!response.ok) throw new Error((await response.json()).error);
    return response;
  }
  part("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    part("status").textContent = "Predicting ...";
    const start = performance.now();
    try {
      part("answer").textContent = JSON.stringify(await (await ask(false)).json(), null, 2);
      part("answer").hidden = false;
      part("status").textContent = "Answered in " + Math.round(performance.now() - start) + " ms.";
      URL.revokeObjectURL(part("drawn").src);
      part("drawn").src = URL.createObjectURL(await (await ask(true)).blob());
      part("drawn").alt = "The image with what was found";
      part("drawn").hidden = false;
    } catch (error) {
      part("answer").hidden = part("drawn").hidden = true;
      part("status").textContent = error.message;
    }
  });
</script>
</html>
"""
