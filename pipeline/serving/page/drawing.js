// People over a picture, as lhrnet/draw.py draws them: left limbs orange, right ones blue, the rest in one's own colour.

const DARK = "rgb(20 20 20)";
const MIN_KEYPOINT = 0.15;

export function drawPeople(context, people, settings) {
  const shown = people.filter((person) => person.score >= settings.min_score);
  for (let i = shown.length - 1; i >= 0; i--) {
    drawPerson(context, shown[i], settings, colour(settings.people[i % settings.people.length]));
  }
  return shown.length;
}

function colour(rgb) {
  return `rgb(${rgb.join(" ")})`;
}

function drawPerson(context, person, settings, own) {
  const points = person.keypoints;
  const seen = points.filter((point) => point[2] > MIN_KEYPOINT);
  if (!seen.length) return;
  const range = (axis) => Math.max(...seen.map((p) => p[axis])) - Math.min(...seen.map((p) => p[axis]));
  const width = Math.max(2, Math.max(range(0), range(1)) / 70);
  const [left, right] = [colour(settings.left), colour(settings.right)];
  const limbs = settings.limbs.filter(([a, b]) => points[a][2] > MIN_KEYPOINT && points[b][2] > MIN_KEYPOINT);
  context.lineCap = "round";
  for (const outline of [true, false]) {
    for (const [a, b, side] of limbs) {
      context.strokeStyle = outline ? DARK : { left, right, own }[side];
      context.lineWidth = width + (outline ? 2 : 0);
      context.beginPath();
      context.moveTo(points[a][0], points[a][1]);
      context.lineTo(points[b][0], points[b][1]);
      context.stroke();
    }
  }
  points.forEach(([x, y, score], k) => {
    if (score <= MIN_KEYPOINT) return;
    const [side, fine] = settings.points[k];
    context.fillStyle = { left, right, own }[side];
    context.strokeStyle = DARK;
    context.lineWidth = 1;
    context.beginPath();
    context.arc(x, y, fine ? 0.8 * width : width, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  });
}
