// Everywhere: forms that ask first, buttons that copy, the token on htmx requests.
const token = () => document.querySelector("meta[name=csrf]")?.content ?? "";

document.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["X-CSRF-Token"] = token();
});

const dialog = document.getElementById("ask");

function ask(question) {
  document.getElementById("ask-text").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  document.getElementById("ask-no").focus();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

document.getElementById("ask-yes").addEventListener("click", () => dialog.close("yes"));
document.getElementById("ask-no").addEventListener("click", () => dialog.close(""));

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!question || form.dataset.sure === "yes") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const submitter = event.submitter;
  if (!(await ask(question))) {
    submitter?.focus();
    return;
  }
  form.dataset.sure = "yes";
  form.requestSubmit(submitter ?? undefined);
}, true);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = button.dataset.done;
  } catch {
    field.select(); // no clipboard without TLS: the reader presses Ctrl+C
  }
});

for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;

export { token };
