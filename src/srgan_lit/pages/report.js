"use strict";
for (const figure of document.querySelectorAll(".picture")) {
  const pictures = [...figure.querySelectorAll(".stage img")]; // in the page's order, which comparison() changes
  comparison(figure);
  const width = Number(figure.dataset.width);
  for (const canvas of figure.querySelectorAll("canvas")) {
    const picture = pictures[canvas.dataset.layer];
    picture.decode().then(() => {
      // An LR picture covers the same region with fewer of its own pixels.
      const share = picture.naturalWidth / width;
      const [x, y, side] = [canvas.dataset.x, canvas.dataset.y, canvas.width].map((pixels) => pixels * share);
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = false;
      pen.drawImage(picture, x, y, side, side, 0, 0, canvas.width, canvas.height);
    });
  }
}
