"use strict";
// Two of a figure's pictures on top of each other, each cut off at the divider.
function comparison(figure) {
  const find = (selector) => figure.querySelector(selector);
  const pictures = [...figure.querySelectorAll(".stage img")];
  const stage = find(".stage");
  const frame = find(".frame");
  const position = find(".position");
  const divider = find(".divider");
  const [left, right, zoom] = [".left", ".right", ".zoom"].map(find);
  const [width, height] = [Number(figure.dataset.width), Number(figure.dataset.height)];

  function move() {
    const percent = Number(position.value);
    // Both are cut, or the lower one would shine through at an edge that lies between two screen pixels.
    pictures[left.value].style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    pictures[right.value].style.clipPath = left.value === right.value ? "" : `inset(0 0 0 ${percent}%)`;
    divider.style.left = `${percent}%`;
    position.setAttribute("aria-valuetext", `${Math.round(percent)} percent ${left.selectedOptions[0].text}`);
  }

  function choose() {
    for (const picture of pictures) {
      picture.hidden = true;
      picture.style.clipPath = "";
      picture.style.zIndex = "";
    }
    for (const [select, place] of [[left, ".at-left"], [right, ".at-right"]]) {
      pictures[select.value].hidden = false;
      find(place).textContent = select.selectedOptions[0].text;
    }
    stage.append(pictures[left.value], pictures[right.value], divider, find(".at-left"), find(".at-right"));
    move();
  }

  // Small pictures are enlarged by a whole factor to be seen at all; large ones shrink to fit the window.
  function resize() {
    const chosen = Number(zoom.value);
    const factor = chosen || Math.max(1, Math.floor(700 / width));
    stage.style.width = `${width * factor}px`;
    const fitting = `min(100%, ${((80 * width) / height).toFixed(3)}vh)`; // 80 % of the window's height
    stage.style.maxWidth = chosen ? "none" : fitting;
    stage.style.aspectRatio = `${width} / ${height}`;
    stage.classList.toggle("enlarged", factor > 1);
    frame.tabIndex = chosen ? 0 : -1; // what scrolls must be reachable by keyboard
    position.style.maxWidth = chosen ? "100%" : `min(${width * factor}px, ${fitting.slice(4, -1)})`;
  }

  function follow(event) {
    const area = stage.getBoundingClientRect();
    position.value = String(((event.clientX - area.left) / area.width) * 100);
    move();
  }
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.buttons) follow(event);
  });
  position.addEventListener("input", move);
  left.addEventListener("change", choose);
  right.addEventListener("change", choose);
  zoom.addEventListener("change", resize);
  choose();
  resize();
}
