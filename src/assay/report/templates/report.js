"use strict";
(function () {
  for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;

  const opener = document.getElementById("open-all");
  if (opener) {
    opener.addEventListener("click", function () {
      const open = opener.getAttribute("aria-pressed") !== "true";
      for (const d of document.querySelectorAll("main section details")) d.open = open;
      opener.setAttribute("aria-pressed", String(open));
    });
  }
  window.addEventListener("beforeprint", function () {
    for (const d of document.querySelectorAll("main section details")) d.open = true;
  });

  const slider = document.getElementById("base-rate");
  if (!slider) return;
  const given = JSON.parse(slider.dataset.numbers);
  const odds = (p) => { const b = Math.min(1 - 1e-12, Math.max(1e-12, p)); return b / (1 - b); };
  const back = (o) => o / (1 + o);
  const percent = function (p) {
    const v = 100 * p;
    if (v < 0.1) return "<0.1 %";
    if (v > 99.9) return ">99.9 %";
    return (v < 10 || v > 99 ? v.toFixed(1) : v.toFixed(0)) + " %";
  };
  // odds = prior / (1 - prior) * sum(share * exp(llr)); the bounds keep their ratio.
  const ratio = given.terms.reduce((sum, t) => sum + t[0] * Math.exp(t[1]), 0);
  const low = odds(given.low) / odds(given.prior);
  const high = odds(given.high) / odds(given.prior);
  const out = document.getElementById("base-rate-answer");
  let touched = false; // the slider rounds; until it is moved the stated prior holds
  const show = function () {
    const prior = touched ? back(Math.exp(Number(slider.value))) : given.prior;
    const at = (r) => back(odds(prior) * r);
    const values = { prior: prior, point: at(ratio), low: at(low), high: at(high) };
    const said = slider.dataset.said.replace(/\{(\w+)\}/g, (_, n) => percent(values[n]));
    out.textContent = said;
    slider.setAttribute("aria-valuetext", said);
    const x = (p) => (100 * p).toFixed(3) + "%";
    document.getElementById("what-if-band").setAttribute("x", x(at(low)));
    document.getElementById("what-if-band").setAttribute("width", x(at(high) - at(low)));
    document.getElementById("what-if-mark").setAttribute("cx", x(at(ratio)));
  };
  slider.value = Math.log(odds(given.prior));
  slider.addEventListener("input", function () { touched = true; show(); });
  show();
})();
