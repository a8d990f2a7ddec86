// Keeps the shown time current, and waits for a move of the clock without a blank page.
"use strict";

const clock = document.querySelector("#now");
const progress = document.querySelector("#progress");
// This page asked for a move; somebody else did.
let isMoving = false;
let wasMoving = false;

const write = (time) =>
  new Intl.DateTimeFormat("en-GB", {
    weekday: "short", day: "numeric", month: "short", year: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC",
  }).format(new Date(time)) + " UTC";

async function refresh() {
  const answer = await fetch("/api/state");
  const state = await answer.json();
  clock.textContent = write(state.now);
  clock.dateTime = state.now;
  if (state.moving_to) {
    progress.textContent = `Moving to ${write(state.moving_to)} …`;
    progress.hidden = false;
    wasMoving = true;
  } else if (wasMoving && !isMoving) {
    progress.hidden = true;
    wasMoving = false;
  }
}

function tick() {
  const again = () => setTimeout(tick, isMoving ? 300 : 1000);
  if (document.hidden) return again();
  refresh().then(again, again);
}

async function move(event) {
  event.preventDefault();
  isMoving = true;
  const form = event.target;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  document.querySelectorAll("button").forEach((button) => (button.disabled = true));
  progress.textContent = "Moving …";
  progress.hidden = false;
  try {
    const answer = await fetch(form.action, { method: "POST", body });
    if (answer.ok) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    refuse(page.querySelector("#problem")?.textContent ?? "That did not work.");
  } catch {
    location.reload();
  }
}

function refuse(sentence) {
  isMoving = false;
  progress.textContent = sentence;
  progress.classList.add("bad");
  document.querySelectorAll("button").forEach((button) => (button.disabled = false));
}

document.querySelectorAll("form[data-moves]").forEach((form) => form.addEventListener("submit", move));
tick();
