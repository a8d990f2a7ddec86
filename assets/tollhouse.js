// What pages do beyond HTML. Every page works without it.
"use strict";

// Waits for a purchase: asks for its state, and loads the page anew when that has changed.
for (const waiting of document.querySelectorAll("[data-status]")) {
  const state = waiting.dataset.state;
  const ask = async () => {
    try {
      const answer = await fetch(waiting.dataset.status, { headers: { accept: "application/json" } });
      if (answer.ok && (await answer.json()).state !== state) return location.reload();
    } catch {
      // The network is away for a moment: ask again.
    }
    setTimeout(ask, 1500);
  };
  setTimeout(ask, 1000);
}

// Copies a key; the button appears only where this works.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
      const label = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }
}

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-busy", "true");
  });
}

// Coming back with the browser's back button shows the page as it was left: let it be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button")) button.removeAttribute("aria-busy");
  }
});
