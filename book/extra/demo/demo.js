// A-Net in the reader's browser: a picture in, its mask out. Nothing leaves the page.
//
// workflow/demo.py writes built/*.js; each sets a property of anetDemo: about, and, loaded with the first picture, runtime and
// model.
"use strict";

window.anetDemo = {};

{
  const MULTIPLE = 32; // the network halves the resolution five times
  const MOST_RUNS = 5, MOST_SECONDS = 3; // timed after one run to warm up
  const ORANGE = [230, 97, 0];

  const folder = new URL(".", document.currentScript.src);
  const demo = document.getElementById("demo");
  const element = (selector) => demo.querySelector(selector);
  const [controls, chosen, side, status, result] =
    ["fieldset", "[type=file]", "[type=number]", "[role=status]", ".demo-result"].map(element);
  const [overlay, mask] = [element(".demo-overlay"), element(".demo-mask")];

  let picture; // the last one given: {name, blob}
  let network; // a promise of {ort, session}
  let queue = Promise.resolve(); // pictures are computed one after the other

  function say(sentence) {
    status.textContent = sentence;
    return new Promise((painted) => setTimeout(painted, 50)); // computing blocks the page, so let it show first
  }

  function load(name) {
    return new Promise((loaded, failed) => {
      const script = document.createElement("script");
      script.src = new URL(`built/${name}.js`, folder);
      script.onload = loaded;
      script.onerror = () => failed(new Error(
        `demo/built/${name}.js is missing from this copy of the book; run "make demo" and build it again.`));
      document.head.append(script);
    });
  }

  // Bytes from the text that packed() of workflow/demo.py made.
  async function unpacked(text) {
    const zipped = await fetch(`data:application/gzip;base64,${text}`);
    return new Response(zipped.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  async function start() {
    await say("Unpacking A-Net and its runtime …");
    await Promise.all([load(anetDemo.about.package), load("model")]);
    const { module, wasm } = anetDemo.runtime;
    const address = URL.createObjectURL(new Blob([await unpacked(module)], { type: "text/javascript" }));
    const ort = await import(address);
    ort.env.wasm.numThreads = 1; // more would need workers, which need a server
    ort.env.wasm.wasmBinary = await unpacked(wasm);
    return { ort, session: await ort.InferenceSession.create(await unpacked(anetDemo.model)) };
  }

  // The pixels of a picture, its longer side at most `longest`.
  async function read({ name, blob }, longest) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    } catch {
      throw new Error(`${name} is not a picture that this browser can read; give a PNG or a JPEG.`);
    }
    const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length * scale)));
    const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  }

  // Index i of a line of n pixels continued by reflection on either side, the end pixels not repeated.
  function reflected(i, n) {
    const period = Math.max(1, 2 * (n - 1));
    const j = ((i % period) + period) % period;
    return Math.min(j, period - j);
  }

  // What anet_core/prediction.py feeds the network: values in [-1, 1], (3, rows, columns), padded around the picture.
  function prepared({ data, width, height }) {
    const [rows, columns] = [height, width].map((length) => Math.ceil(length / MULTIPLE) * MULTIPLE);
    const [top, left] = [(rows - height) >> 1, (columns - width) >> 1];
    const input = new Float32Array(3 * rows * columns);
    for (let row = 0, i = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, i++) {
        const pixel = 4 * (reflected(row - top, height) * width + reflected(column - left, width));
        for (let channel = 0; channel < 3; channel++) {
          input[channel * rows * columns + i] = data[pixel + channel] / 127.5 - 1;
        }
      }
    }
    return { input, rows, columns, top, left };
  }

  // Draws mask and overlay; the percentage that is marked.
  function draw({ data, width, height }, logits, { columns, top, left }) {
    const [marked, binary] = [new ImageData(width, height), new ImageData(width, height)];
    let count = 0;
    for (let i = 0; i < width * height; i++) {
      const defect = logits[(Math.floor(i / width) + top) * columns + (i % width) + left] > 0;
      count += defect;
      for (let channel = 0; channel < 3; channel++) {
        const value = data[4 * i + channel];
        marked.data[4 * i + channel] = defect ? (value + ORANGE[channel]) / 2 : value;
        binary.data[4 * i + channel] = defect ? 255 : 0;
      }
      marked.data[4 * i + 3] = binary.data[4 * i + 3] = 255;
    }
    for (const [canvas, image] of [[overlay, marked], [mask, binary]]) {
      [canvas.width, canvas.height] = [width, height];
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
    return (100 * count) / (width * height);
  }

  // The logits, and the milliseconds of each timed run.
  async function run(feed) {
    const { ort, session } = await network;
    const tensor = new ort.Tensor("float32", feed.input, [1, 3, feed.rows, feed.columns]);
    const times = [];
    let logits = (await session.run({ image: tensor })).logits.data;
    const end = performance.now() + 1000 * MOST_SECONDS;
    while (!times.length || (times.length < MOST_RUNS && performance.now() < end)) {
      const begin = performance.now();
      logits = (await session.run({ image: tensor })).logits.data;
      times.push(performance.now() - begin);
    }
    return { logits, times: times.sort((a, b) => a - b) };
  }

  async function compute() {
    result.hidden = true;
    try {
      const pixels = await read(picture, side.valueAsNumber);
      network ??= start();
      await network.catch((error) => { network = undefined; throw error; });
      await say(`Computing ${pixels.width} × ${pixels.height} pixels …`);
      const feed = prepared(pixels);
      const { logits, times } = await run(feed);
      const percent = `${draw(pixels, logits, feed).toFixed(1)} %`;
      overlay.setAttribute("aria-label", `${picture.name} with ${percent} of it marked as defect`);
      mask.setAttribute("aria-label", `The mask of ${picture.name}: ${percent} of it white, for defect`);
      result.hidden = false;
      say(`${percent} of ${picture.name} is marked as defect. ${times[times.length >> 1].toFixed(0)} ms in this browser, ` +
        `the median of ${times.length} at ${pixels.width} × ${pixels.height} pixels.`);
    } catch (error) {
      say(error.message);
    }
  }

  function show(given) {
    picture = given;
    if (picture && side.reportValidity()) queue = queue.then(compute);
  }

  function offer({ name, iou, url }) {
    const button = document.createElement("button");
    button.type = "button";
    button.innerHTML = `<img src="${url}" alt="">${name}: IoU ${iou.toFixed(0)} %`;
    button.onclick = async () => show({ name: `${name}.png`, blob: await (await fetch(url)).blob() });
    element(".demo-samples").append(button);
  }

  const showFile = (files) => files.length && show({ name: files[0].name, blob: files[0] });
  const drop = element(".demo-drop");
  chosen.onchange = () => showFile(chosen.files);
  side.onchange = () => show(picture);
  drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("demo-over"); };
  drop.ondragleave = () => drop.classList.remove("demo-over");
  drop.ondrop = (event) => { event.preventDefault(); drop.classList.remove("demo-over"); showFile(event.dataTransfer.files); };
  element(".demo-download").onclick = () => mask.toBlob((blob) => {
    const link = document.createElement("a");
    [link.href, link.download] = [URL.createObjectURL(blob), `${picture.name.replace(/\.[^.]*$/, "")}-mask.png`];
    link.click();
  });

  load("about").then(() => {
    const { package: runtime, weights, iou, samples } = anetDemo.about;
    element(".demo-about").textContent =
      `The network is that of the run ${weights}, IoU ${iou.toFixed(1)} % on its test pictures; the runtime is ${runtime}.`;
    samples.forEach(offer);
    controls.disabled = false;
    say("No picture yet.");
  }, () => say('This copy of the book was built without the network and its runtime; "make demo", which needs npm, adds them.'));
}
