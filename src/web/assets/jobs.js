// How far jobs are, as the service tells it; where no stream can be had, the page asks again by itself.

const whole = (number) => number.toLocaleString("en");

function show(job) {
  const place = document.querySelector(`[data-job="${job.job}"]`);
  if (!place) return false;
  place.querySelector("[data-state]").textContent = job.state.replaceAll("_", " ");
  const bar = place.querySelector("progress");
  if (bar && job.all) {
    bar.max = job.all;
    bar.value = job.done;
    const done = place.querySelector("[data-done]");
    if (done) done.textContent = `${whole(job.done)} of ${whole(job.all)}`;
  }
  return true;
}

const list = document.querySelectorAll("[data-job]").length !== 1;
const stream = new EventSource("/jobs/live");
stream.addEventListener("message", (event) => {
  const shown = JSON.parse(event.data).jobs.map(show);
  if (list && shown.includes(false)) location.reload();
  document.body.dataset.live = "true";
});
stream.addEventListener("error", () => {
  if (stream.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 15000);
});
document.body.dataset.ready = "true";
