"""What a training job likes to show: a table in colours, and below it a progress bar.
It begins on Enter, waits for Enter in the middle, and then finishes."""
import time

RUNS = [("sgd     ", 0.412, 32), ("adam    ", 0.087, 32), ("発散    ", 9.731, 31)]


def bar(percent):
    done = percent // 5
    print(f"\r\033[36m{'█' * done}{'░' * (20 - done)}\033[0m {percent:3d} %", end="", flush=True)


input("Enter starts: ")
print("\033[1;4mrun        loss\033[0m")
for name, loss, colour in RUNS:
    print(f"\033[{colour}m{name}\033[0m{loss:7.3f}")
for percent in range(0, 101):
    bar(percent)
    time.sleep(0.01)
    if percent == 42:
        input("  Enter goes on")
print("\ntrained")
