package main

import (
	"strings"
	"time"
)

// program is a recording's command and its typed input, in pieces. Each piece is typed when the
// program has stopped printing.
type program struct {
	name    string
	command []string
	keys    []string
	slow    bool // pauses while it works
}

func (p program) patience() time.Duration {
	if p.slow {
		return 1500 * time.Millisecond
	}
	return 400 * time.Millisecond
}

func sh(script string) []string { return []string{"sh", "-c", script} }

var programs = []program{
	{name: "ls", command: sh("ls -l --color --time-style=+ . && ls -C --color /usr/bin | head -c 3000")},
	{name: "git", command: sh(repository + "git log --graph --color --stat && git diff --color HEAD~2 HEAD")},
	{name: "vim", command: []string{"vim", "-u", "vimrc", "-i", "NONE", "words.txt"}, keys: []string{
		"/line 1\r", "5dd", "ihello \x1b", ":vsplit data.py\r", ":set list number\r", "Gzz", "\x16jjjd", ":sp\r", "u", "\x06"}},
	{name: "vim-quit", command: sh("echo before; vim -u vimrc -i NONE data.py; echo after"), keys: []string{"dd", "p", ":q!\r"}},
	{name: "less", command: []string{"less", "-R", "words.txt"}, keys: []string{" ", "j", "j", "k", "b", "/line 33\r", "G"}},
	{name: "less-quit", command: sh("echo before; less words.txt; echo after"), keys: []string{" ", "q"}},
	{name: "htop", command: []string{"htop", "-d", "3"}, keys: []string{"\x1bOB", "t", "\x1bOS"}},
	{name: "top", command: []string{"top", "-d", "0.5"}, keys: []string{"z"}},
	{name: "python", command: []string{"python3", "-q"}, keys: []string{
		"for i in range(3): print(i)\r", "\r", "import os; 'x' * 130\r", "undefined\r", "\x1b[A\x1b[A\x01#\x05 end\r", "print('a\\tb')\r"}},
	{name: "bash", command: []string{"bash", "--norc", "-i"}, keys: []string{
		"echo " + strings.Repeat("word ", 40) + "\r", "ls w\t\r", "echo \x1b[A\x1b[D\x1b[D\x17new \x01\x0bls\r", "\x12wor\x07", "clear\r", "seq 40 | column\r"}},
	{name: "tqdm", command: []string{"python3", "bars.py"}, slow: true},
	{name: "rich", command: []string{"python3", "pretty.py"}, slow: true},
	{name: "watch", command: []string{"watch", "-c", "-d", "-n", "0.3", "sh", "./gpus"}, slow: true},
	{name: "gradient", command: []string{"python3", "gradient.py"}},
	{name: "wide", command: []string{"cat", "wide.txt"}},
	{name: "wrap", command: []string{"cat", "wrap.txt"}},
	{name: "emoji", command: []string{"cat", "emoji.txt"}},
	{name: "tmux", command: []string{"tmux", "-S", "/mnt/sock", "-f", "/dev/null", "new", "bash", "--norc"}, keys: []string{
		"ls --color -l /\r", "\x02%", "seq 50\r", "\x02\"", "vim -u vimrc data.py\r", "jjj"}},
}

const repository = `git init -q -b main . && for i in 1 2 3 4; do seq $((i * 7)) >>numbers; sed -i "s/line $i/LINE $i/" words.txt
git add numbers words.txt && git commit -qm "step $i"; done; git checkout -qb side HEAD~1 && git commit -q --allow-empty -m side &&
git merge -q -m merge main;`

var files = map[string]string{
	"vimrc":       "set nocompatible ruler showcmd hlsearch incsearch background=dark termguicolors\nsyntax on\n",
	"words.txt":   words(),
	"run.sh":      "#!/bin/sh\necho hello\n",
	"data.py":     "import os\n\n\nclass Data:\n    \"\"\"What is loaded.\"\"\"\n\n    def load(self, path: str = 'x') -> int:\n        # a comment\n        return len(os.listdir(path)) + 42\n",
	"bars.py":     barsPy,
	"pretty.py":   prettyPy,
	"gradient.py": gradientPy,
	"gpus":        gpus,
	"wide.txt":    wideText,
	"wrap.txt":    wrapText,
	"emoji.txt":   emojiText,
}

func words() string {
	var b strings.Builder
	for i := range 60 {
		b.WriteString("line ")
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), i*3%140))
		b.WriteString("\tline 3")
		b.WriteByte(byte('0' + i%10))
		b.WriteByte('\n')
	}
	return b.String()
}

const barsPy = `
import sys, time
from tqdm import tqdm
for epoch in range(2):
    for i in tqdm(range(60), desc=f"epoch {epoch}", ncols=90, mininterval=0):
        if i == 30:
            tqdm.write("half way, loss 0.25")
outer = tqdm(range(3), position=0, mininterval=0, ncols=80)
for i in outer:
    for j in tqdm(range(20), position=1, leave=False, mininterval=0, ncols=80, colour="green"):
        pass
outer.close()
print("done")
`

const prettyPy = `
import time
from rich.console import Console
from rich.table import Table
from rich.panel import Panel
from rich.progress import track
from rich.syntax import Syntax
c = Console(force_terminal=True, color_system="truecolor", width=100)
t = Table(title="Runs", show_lines=True)
for name in ("name", "loss", "state"): t.add_column(name, style="cyan", header_style="bold magenta")
t.add_row("exp1", "[red]0.5[/]", "[link=https://example.org]done[/link]")
t.add_row("実験2", "[green]0.25[/]", "🚀 running")
c.print(t)
c.print(Panel("[u]underlined[/] [s]struck[/] [i]italic[/] [blink]blink[/] [reverse]reverse[/]"))
c.print(Syntax("def f(x):\n    return x + 1  # comment", "python", line_numbers=True))
for _ in track(range(20), description="working", console=c): time.sleep(0.02)
with c.status("thinking"): time.sleep(0.3)
`

const gradientPy = `
import sys
for y in range(12):
    for x in range(100):
        sys.stdout.write(f"\x1b[48;2;{x*2};{y*20};{255-x*2}m\x1b[38:2::{255-x}:{y}:9m" + ("\u2580" if x % 2 else " "))
    sys.stdout.write("\x1b[0m\r\n")
for n in range(256):
    sys.stdout.write(f"\x1b[48;5;{n}m{n:4}\x1b[m")
for u in range(6):
    sys.stdout.write(f"\x1b[4:{u};58;2;200;{u*30};0munder\x1b[m ")
sys.stdout.write("\x1b[1;2;3;5;7;8;9;53mall\x1b[22;23m some\x1b[25;27;28;29;55m none\r\n")
`

// gpus looks like the table that watch is most often used with.
const gpus = `
printf '+-----------------------------------------+\n'
for i in 0 1 2 3; do
  printf '|   %d  GPU             \033[32m%2d%%\033[0m   %5dMiB / 80000MiB |\n' $i $(( ($(date +%N | sed 's/^0*//') / 1000000 + i * 7) % 100 )) $(( i * 1000 + $$ ))
done
printf '+-----------------------------------------+\n\033[1;33mwarn\033[0m 温度 80\n'
`

const wideText = "中文字符 测试，全角。\n日本語テキスト ｶﾅ ﾊﾝｶｸ\n한국어 텍스트 \u1112\u1161\u11ab\n" +
	"a\u0301 e\u0308\u0323 n\u0303 o\u0302\u0301\n" +
	"😀 😃 🚀 ✨ ⚡ ☕ ⌚\n🇩🇪 🇫🇷 🇯🇵x\n" +
	"\u0e01\u0e34\u0e19\n\u05e9\u05c1\u05dc\n→ ─ │ ┌ █ ▀ ░ ■ ● ★ ℃ № Ω\n"

// Terminals differ in the width of these.
const emojiText = "👍🏽 👋🏿 ✋🏻x\n👨‍👩‍👧‍👦 👩‍💻 🏳️‍🌈x\n❤️ ☀️ ▶️ 1️⃣ #️⃣x\n🇩🇪🇫🇷🇯🇵x\n"

const wrapText = "世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界x世界世界世界世界\n" +
	"x世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界世界x世界世界世界世界\n"
