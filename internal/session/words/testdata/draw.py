"""Programs that draw over what they have printed. Run: draw.py NAME

Those that are real use their libraries; the others write what programs of that
kind do, with the sequences of theirs.
"""
import os, shutil, subprocess, sys, tempfile, time

ESC = "\x1b"


def say(*parts):
    sys.stdout.write("".join(parts))
    sys.stdout.flush()


def pause():
    time.sleep(0.01)


def columns():
    return shutil.get_terminal_size((80, 24)).columns


def tqdm_single():
    from tqdm import tqdm
    for epoch in range(4):
        for _ in tqdm(range(20), desc=f"epoch {epoch}", mininterval=0):
            pause()
        print(f"epoch {epoch}\tloss {1 / (epoch + 1):.3f}  ")


def tqdm_beside():
    from tqdm import tqdm
    for n in tqdm(range(24), mininterval=0):
        pause()
        print(f"epoch {n}")


def tqdm_write():
    from tqdm import tqdm
    for n in tqdm(range(30), mininterval=0):
        pause()
        if n % 5 == 0:
            tqdm.write(f"step\t{n} " + "x" * (n * 4))


def tqdm_nested():
    from tqdm import tqdm
    for a in tqdm(range(3), desc="outer", mininterval=0):
        for b in tqdm(range(3), desc="middle", leave=False, mininterval=0):
            for _ in tqdm(range(4), desc="inner", leave=b == 2, mininterval=0):
                pause()
        tqdm.write(f"epoch {a}")
    print("end")


def rich_tasks(count):
    from rich.progress import Progress
    with Progress(refresh_per_second=50) as progress:
        tasks = [progress.add_task(f"task {n}", total=10 + n) for n in range(count)]
        for step in range(10 + count):
            for task in tasks:
                progress.advance(task)
            if step % 4 == 0:
                progress.console.print(f"[red]step[/red] {step}")
            pause()
    print("end")


def rich_status():
    from rich.console import Console
    console = Console()
    with console.status("working " + "with a long text " * 8):
        for n in range(5):
            time.sleep(0.05)
            console.log(f"done with {n}")
    print("end")


def spinner():
    """As ora does: it erases as many rows as its text took at the width of the terminal."""
    width = columns()
    say(ESC, "[?25l")
    for task in range(6):
        text = f"task {task} " + "on and on " * (8 + task * 4)
        for frame in "⠋⠙⠹⠸⠼⠴":
            line = f"{frame} {text}"
            say(line)
            pause()
            for row in range((len(line) + width - 1) // width):
                if row:
                    say(ESC, "[1A")
                say(ESC, "[2K", ESC, "[G")
        say(f"{ESC}[32m✔{ESC}[39m {text}\n")
    say(ESC, "[?25h")


def log_update():
    """As log-update does: it erases the rows of the last frame from the bottom up."""
    last = 0
    for n in range(20):
        frame = [f"row {r} of frame {n}" for r in range(1 + n % 7)]
        for row in range(last):
            say(ESC, "[2K", ESC, "[1A" if row < last - 1 else "")
        if last:
            say(ESC, "[G")
        say("\n".join(frame) + "\n")
        last = len(frame) + 1
        pause()
        if n % 5 == 4:
            last = 0
            say(f"done with {n}\n")


def layers():
    """As docker pull does: every layer has a row, which it goes up to and comes back from."""
    names = [f"{n * 7919:012x}" for n in range(1, 8)]
    say("latest: Pulling from library/image\n")
    for name in names:
        say(f"{name}: Pulling fs layer \n")
    for step in range(4):
        for n, name in enumerate(names):
            up = len(names) - n
            word = ["Waiting", "Downloading [==>   ] 1.2MB/3MB", "Extracting", "Pull complete"][step]
            say(f"{ESC}[{up}A{ESC}[2K\r{name}: {word} \r{ESC}[{up}B")
            pause()
    say("Digest: sha256:1234\nStatus: Downloaded newer image\n")


def compose():
    """Six rows that are all drawn again, as docker compose does."""
    for step in range(25):
        if step:
            say(f"{ESC}[6A")
        for n in range(6):
            mark = "✔" if step > 20 - n else "⠿"
            say(f"{ESC}[2K {mark} Container c{n} {step * 0.1:.1f}s\n")
        pause()
    say("end\n")


def indicatif():
    """Bars that are drawn in one go, with lines printed above them."""
    drawn = 0
    for step in range(30):
        out = ""
        if drawn:
            out += f"{ESC}[{drawn - 1}A" if drawn > 1 else ""
            out += f"\r{ESC}[J"
        if step % 6 == 0:
            out += f"finished\t{step}\n"
        bars = [f"[{'#' * (step // 2):<15}] {step}/30 file {n}" for n in range(3)]
        say(out + "\n".join(bars))
        drawn = len(bars)
        pause()
    say("\n")


def pip():
    for name in "numpy", "torch", "a-package-with-a-rather-long-name":
        say(f"Collecting {name}\n  Downloading {name}-1.0.whl (12 MB)\n")
        say(ESC, "[?25l")
        for done in range(0, 13, 2):
            say(f"\r{ESC}[2K     {ESC}[38;5;237m━━━━{ESC}[0m {ESC}[32m{done}.0/12.0 MB{ESC}[0m")
            pause()
        say("\n", ESC, "[?25h")
    say("Installing collected packages\nSuccessfully installed\n")


def cargo():
    for n in range(15):
        bar = f"    Building [{'=' * n:<15}] {n}/15: crate{n}"
        say(f"\r{ESC}[K{ESC}[1m{ESC}[32m   Compiling{ESC}[0m crate{n} v0.1.{n}\n{bar[:columns() - 1]}\r")
        pause()
    say(f"{ESC}[K{ESC}[1m{ESC}[32m    Finished{ESC}[0m dev profile in 1.00s\n")


def gcc():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "bad.c")
        with open(path, "w") as f:
            f.write("int f(void) {\n\tint unused = y;\n\treturn \"text\";\n}\n")
        os.chdir(d)
        subprocess.run(["gcc", "-Wall", "-fdiagnostics-color=always", "-c", "bad.c"])


def plain():
    for n in range(200):
        print(f"{n}\tof  \x1b[3{n % 8}mcolours\x1b[0m and blanks   ")
        if n % 50 == 49:
            print("long " * 100)


def dashboard():
    for n in range(5):
        say(f"{ESC}[H{ESC}[2J", "".join(f"frame {n} row {r}\n" for r in range(5)))
        pause()


def screen():
    say("before\n", ESC, "[?1049h", ESC, "[H", "inside\n" * 5, ESC, "[?1049l", "after\n")


def region():
    """A bar in the last row below a region that scrolls, as apt has it."""
    rows = shutil.get_terminal_size((80, 24)).lines
    say("\n", ESC, "7", ESC, f"[0;{rows - 1}r", ESC, "8", ESC, "[1A")
    for n in range(40):
        say(f"Unpacking package {n}\n", ESC, "7", ESC, f"[{rows};0f", f"Progress: [{n * 2:3}%]", ESC, "8")
    say(ESC, "7", ESC, f"[0;{rows}r", ESC, "8", ESC, "[1A", "\n", ESC, "[J", "done\n")


name = sys.argv[1]
if name.startswith("rich_") and name[5:].isdigit():
    rich_tasks(int(name[5:]))
else:
    globals()[name]()
