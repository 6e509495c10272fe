// The result page: what is drawn on the picture, and a player that moves with the timeline.
const still = document.getElementById("still");
if (still) {
  const stage = still.querySelector(".stage");
  const which = document.getElementById("which-map");
  const describe = () => {
    const chosen = which?.value ?? "1";
    const drawn = !stage.classList.contains("no-heat") || !stage.classList.contains("no-mask");
    for (const map of still.querySelectorAll("[data-map]")) {
      map.setAttribute("display", map.dataset.map === chosen ? "inline" : "none");
    }
    for (const about of still.querySelectorAll("[data-about]")) {
      about.hidden = !drawn || about.dataset.about !== chosen;
    }
  };
  for (const button of still.querySelectorAll("[data-toggle]")) {
    button.addEventListener("click", () => {
      const off = stage.classList.toggle(`no-${button.dataset.toggle}`);
      button.setAttribute("aria-pressed", String(!off));
      describe();
    });
  }
  which?.addEventListener("change", describe);
  const original = still.querySelector("[data-original]");
  original?.addEventListener("click", () => {
    const picture = stage.querySelector("img");
    const full = original.getAttribute("aria-pressed") !== "true";
    picture.dataset.small ??= picture.src;
    picture.src = full ? original.dataset.original : picture.dataset.small;
    picture.classList.toggle("full", full);
    original.setAttribute("aria-pressed", String(full));
  });
}

const player = document.getElementById("player");
if (player) {
  const timed = document.querySelector(".timed");
  const length = () => Number(timed.dataset.length) || player.duration || 1;
  const heads = timed.querySelectorAll(".head");
  const draw = () => {
    const at = `${Math.min(100, (100 * player.currentTime) / length())}%`;
    for (const head of heads) {
      head.setAttribute("x1", at);
      head.setAttribute("x2", at);
    }
  };
  const follow = () => {
    draw();
    if (!player.paused) requestAnimationFrame(follow);
  };
  player.addEventListener("loadedmetadata", () => timed.classList.add("plays"));
  player.addEventListener("play", follow);
  player.addEventListener("timeupdate", draw);
  player.addEventListener("seeking", draw);
  player.addEventListener("error", () => {
    player.hidden = true;
    document.getElementById("no-play").hidden = false;
  });
  const go = (seconds) => {
    player.currentTime = Math.max(0, Math.min(seconds, player.duration || seconds));
    draw();
  };
  for (const button of timed.querySelectorAll("[data-seek]")) {
    button.addEventListener("click", () => go(Number(button.dataset.seek)));
  }
  for (const strip of timed.querySelectorAll("[data-scrub]")) {
    strip.addEventListener("click", (event) => {
      const box = strip.getBoundingClientRect();
      go(((event.clientX - box.left) / box.width) * length());
    });
  }
}
