"""A training job small enough for any machine: a network with one hidden layer learns
whether a point lies inside a circle, by stochastic gradient descent, in plain Python.
It writes a checkpoint every 20 epochs, and exits with 0 only if it has learned it."""
import json, math, os, random, sys

EPOCHS, HIDDEN, RATE = int(sys.argv[1]), 8, 0.3
CHECKPOINT = sys.argv[2]
random.seed(1)
points = [(random.uniform(-1, 1), random.uniform(-1, 1)) for _ in range(600)]
data = [((x, y), 1.0 if x * x + y * y < 0.4 else 0.0) for x, y in points]
w1 = [[random.gauss(0, 1) for _ in range(3)] for _ in range(HIDDEN)]
w2 = [random.gauss(0, 1) for _ in range(HIDDEN + 1)]


def forward(p):
    hidden = [math.tanh(w[0] * p[0] + w[1] * p[1] + w[2]) for w in w1]
    z = sum(w * h for w, h in zip(w2, hidden)) + w2[HIDDEN]
    return hidden, 1 / (1 + math.exp(-max(-30.0, min(30.0, z))))


def learn(p, label):
    hidden, out = forward(p)
    error = out - label
    for i, h in enumerate(hidden):
        slope = error * w2[i] * (1 - h * h)
        w2[i] -= RATE * error * h
        for j, x in enumerate((p[0], p[1], 1.0)):
            w1[i][j] -= RATE * slope * x
    w2[HIDDEN] -= RATE * error
    return -math.log(max(1e-9, out if label else 1 - out))


def save(epoch, loss):
    with open(CHECKPOINT + ".new", "w") as f:
        json.dump({"epoch": epoch, "loss": loss, "w1": w1, "w2": w2}, f)
    os.replace(CHECKPOINT + ".new", CHECKPOINT)


loss = 0.0
for epoch in range(1, EPOCHS + 1):
    random.shuffle(data)
    loss = sum(learn(p, label) for p, label in data) / len(data)
    print(f"epoch {epoch}/{EPOCHS} loss {loss:.4f}", flush=True)
    if epoch % 20 == 0 or epoch == EPOCHS:
        save(epoch, loss)
right = sum((forward(p)[1] > 0.5) == (label > 0.5) for p, label in data)
print(f"accuracy {right / len(data):.3f}", flush=True)
sys.exit(0 if right > 0.95 * len(data) else 1)
