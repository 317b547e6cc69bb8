"""A training job with PyTorch, small enough for a processor: a network with one hidden
layer learns whether a point lies inside a circle. It writes a checkpoint every 20 epochs,
and begins with that of an earlier run if there is one."""
import os, sys, time
import torch

EPOCHS, CHECKPOINT = int(sys.argv[1]), sys.argv[2]
torch.manual_seed(1)
torch.set_num_threads(1)
points = torch.rand(512, 2) * 2 - 1
labels = ((points**2).sum(1, keepdim=True) < 0.4).float()
model = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
measure = torch.nn.BCEWithLogitsLoss()

done = 0
if os.path.exists(CHECKPOINT):
    saved = torch.load(CHECKPOINT)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    done = saved["epoch"]
    print(f"resumed after epoch {done}", flush=True)

for epoch in range(done + 1, EPOCHS + 1):
    optimizer.zero_grad()
    loss = measure(model(points), labels)
    loss.backward()
    optimizer.step()
    print(f"epoch {epoch}/{EPOCHS} loss {loss.item():.4f}", flush=True)
    if epoch % 20 == 0:
        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, CHECKPOINT + ".new")
        os.replace(CHECKPOINT + ".new", CHECKPOINT)
    time.sleep(0.01)
