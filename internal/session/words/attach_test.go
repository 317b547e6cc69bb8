//go:build linux

package words

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"keyway/internal/screen"
	"keyway/internal/session/wire"
	"keyway/internal/unixsock"
)

func (p *liveProcess) resize(rows, cols uint16) {
	p.t.Helper()
	if err := pty.Setsize(p.pty, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		p.t.Fatal(err)
	}
}

// sizeScript prints the terminal's size at the start and on every change.
const sizeScript = `trap 'stty size' WINCH; stty size; echo ready; while :; do read line || :; done`

func TestRunOnATerminal(t *testing.T) {
	l := newLab(t)
	p := l.startTTY(33, 99, "run", "--", "sh", "-c", `tty >/dev/null && stty size; echo err >&2; read x; echo "got $x"; exit 5`)
	p.out.expect(t, "33 99\r\n")
	p.out.expect(t, "err\r\n")
	p.keys("word\r")
	p.out.expect(t, "got word\r\n")
	if code := p.wait(); code != 5 {
		t.Errorf("exit code %d: %s", code, p.out)
	}
	if got := l.ok("logs"); !strings.HasSuffix(got, "got word\n") {
		t.Errorf("the log is %q", got)
	}
}

func TestCtrlCAsks(t *testing.T) {
	l := newLab(t)
	const question = "[Ctrl-C: s stops train/x, k kills it, l leaves it running"
	p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `trap 'exit 42' INT; echo ready; while :; do sleep 0.1; echo on; done`)
	p.out.expect(t, "ready")
	p.keys("\x03")
	p.out.expect(t, question)
	p.keys("\r")
	p.out.expect(t, "go on\r\n")
	p.out.expect(t, "on\r\non\r\n")
	p.keys("\x03")
	p.out.expect(t, question)
	p.keys("l")
	p.out.expect(t, "[detached; the job goes on as train/x")
	if code := p.wait(); code != 0 {
		t.Errorf("to leave: exit code %d", code)
	}
	// A user who attaches again is not asked.
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "on\r\n")
	p.keys("\x03")
	p.out.expect(t, "[train/x ended: exit code 42]")
	p.wait()
	for answer, want := range map[string]int{"s": 43, "k": 44} {
		p = l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `trap 'exit 43' INT; trap 'exit 44' TERM; trap '' HUP; echo ready; while :; do sleep 0.1; done`)
		p.out.expect(t, "ready")
		p.keys("\x03")
		p.out.expect(t, question)
		p.keys(answer)
		if code := p.wait(); code != want {
			t.Errorf("answer %q: exit code %d, want %d", answer, code, want)
		}
	}
	// A program that reads every key gets this key, too.
	p = l.startTTY(24, 80, "run", "--", "sh", "-c", `stty raw; echo ready; dd bs=1 count=1 2>/dev/null | od -An -tx1`)
	p.out.expect(t, "ready")
	p.keys("\x03")
	p.out.expect(t, "03")
	p.wait()
}

func TestDetachAndReattach(t *testing.T) {
	l := newLab(t)
	p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `while read line; do echo "got $line"; [ "$line" = end ] && exit 7; done`)
	p.keys("one~d\r") // not at the start of a line
	p.out.expect(t, "got one~d")
	p.keys("~~d\r") // at once, as no person types
	p.out.expect(t, "got ~~d")
	p.keys("~d")
	p.out.expect(t, "[detached; the job goes on as train/x: keyway attach train/x]")
	if code := p.wait(); code != 0 {
		t.Errorf("detach: exit code %d", code)
	}
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "got one~d") // the earlier contents
	p.out.expect(t, "got ~~d")
	p.keys("end\r")
	p.out.expect(t, "[train/x ended: exit code 7]")
	if code := p.wait(); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

// TestTheClipboardIsOutOfReach checks that output sets no clipboard where it is shown, and is
// otherwise unchanged.
func TestTheClipboardIsOutOfReach(t *testing.T) {
	l := newLab(t)
	const set, cut = "\x1b]52;c;cm0gLXJm\a", "before\x18after"
	const prints = `printf 'before\033]52;c;cm0gLXJm\007after\n'`
	const script = prints + "; read x"
	shown := func(waits bool, want string, args ...string) {
		t.Helper()
		p := l.startTTY(24, 80, args...)
		p.out.expect(t, want)
		if waits {
			p.keys("\r")
		}
		p.wait()
		if want != set && strings.Contains(p.out.String(), set) {
			t.Errorf("%q shows %q", args, p.out)
		}
	}
	shown(true, cut, "run", "--as", "x", "--", "sh", "-c", script)
	shown(true, "after", "run", "-T", "--", "sh", "-c", script)
	shown(true, set, "run", "--clipboard", "--", "sh", "-c", script)
	shown(false, "after", "attach", "x")
	shown(false, "after", "attach", "--clipboard", "x") // it has ended long ago
	l.ok("run", "-d", "-t", "--as", "live", "--", "sh", "-c", "stty -echo; echo ready; while read x; do "+prints+"; done")
	for want, args := range map[string][]string{cut: {"attach", "live"}, set: {"attach", "--clipboard", "live"}} {
		p := l.startTTY(24, 80, args...)
		p.out.expect(t, "ready")
		p.keys("\r")
		p.out.expect(t, want)
		p.kill()
		if want == cut && strings.Contains(p.out.String(), set) {
			t.Errorf("%q shows %q", args, p.out)
		}
	}
	shown(false, "after", "logs", "x")
	shown(false, set, "logs", "--raw", "x")
	if got := l.ok("logs", "--raw", "x"); !strings.Contains(got, set) {
		t.Errorf("a pipe gets %q", got)
	}
}

// TestAnEndedTerminalIsSeenAsItWas checks that keyway shows the last screen of an ended session,
// and that this changes no mode of the user's terminal.
func TestAnEndedTerminalIsSeenAsItWas(t *testing.T) {
	l := newLab(t)
	const end = "[train/x ended: exit code 0]\r\n"
	for name, c := range map[string]struct{ script, want string }{
		"bar":    {`printf '\033[1mbold\033[m\nstep 1\rstep 2\rstep 3\n'`, "\x1b[1mbold\x1b[m\r\nstep 3\r\n" + end},
		"editor": {`printf 'before\n\033[?1049h\033[?1000h\033[5;5Hin the editor'; kill -9 $$`, "before\r\n[train/x was ended by SIGKILL]\r\n"},
		"wrap":   {`printf '\033[7;1Hlow\033[1;1Hhigh\033[3;1H%025d' 7`, "high\r\n\r\n" + strings.Repeat("0", 24) + "7\r\n\r\n\r\nlow\r\n" + end},
		"none":   {`:`, end},
		"long":   {`seq 5000`, "\n4999\r\n5000\r\n" + end},
	} {
		t.Run(name, func(t *testing.T) {
			p := l.startTTY(7, 20, "run", "--as", "x", "--", "sh", "-c", c.script)
			p.wait()
			l.holderGone(l.session("x"))
			p = l.startTTY(24, 80, "attach", "x")
			p.wait()
			got := p.out.String()
			if whole := name != "long"; whole && got != c.want || !strings.HasSuffix(got, c.want) {
				t.Errorf("got %q, want %q", got[max(0, len(got)-200):], c.want)
			}
		})
	}
}

func TestAViewerOnATerminalThatIsKilled(t *testing.T) {
	l := newLab(t)
	p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", `echo ready; read x; echo "got $x"; read x; exit 3`)
	p.out.expect(t, "ready")
	p.kill()
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "ready")
	p.keys("word\r")
	p.out.expect(t, "got word") // from here on, it reports its end
	// The window is closed: its terminal hangs up.
	if err := p.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 129 {
		t.Errorf("exit code %d", code)
	}
	l.ok("send", "x", "Enter")
	if r := l.keyway("wait", "x"); r.code != 3 {
		t.Errorf("%+v", r)
	}
}

func TestTheActiveViewersSize(t *testing.T) {
	l := newLab(t)
	a := l.startTTY(30, 100, "run", "--as", "x", "--", "sh", "-c", sizeScript)
	a.out.expect(t, "30 100\r\nready")
	a.resize(31, 101)
	a.out.expect(t, "31 101")
	b := l.startTTY(40, 120, "attach", "x") // a viewer that attaches becomes the active one
	b.out.expect(t, "40 120")
	a.resize(32, 102) // not while the other viewer has the size
	a.keys("\r")      // now this viewer has it
	a.out.expect(t, "32 102")
	look := l.startTTY(10, 20, "attach", "--view", "x")
	look.out.expect(t, "32 102")
	look.resize(11, 21)
	look.keys("ignored\r")
	b.keys("\r")
	look.out.expect(t, "40 120") // and neither 10 20 nor 11 21 in between
	b.keys("~d")
	if code := b.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	a.out.expect(t, "32 102") // of the remaining viewer
	look.keys("\x03")
	if code := look.wait(); code != 0 {
		t.Errorf("--view: exit code %d", code)
	}
	if got := l.ok("logs", "x"); strings.Contains(got, "ignored") || strings.Contains(got, "0 20") || strings.Contains(got, "11 21") {
		t.Errorf("a viewer that only looks got through: %q", got)
	}
}

// TestAViewerOfAnotherSize checks that a viewer's terminal of another size shows what it has room
// for, and everything as soon as it has room for that.
func TestAViewerOfAnotherSize(t *testing.T) {
	l := newLab(t)
	const wide = "0123456789abcdefghijKLMNOPQRST"
	a := l.startTTY(10, 40, "run", "--as", "x", "--", "sh", "-c", `printf '`+wide+`\nsecond\n'; read x; echo third; read x; echo fourth; read x`)
	a.out.expect(t, "second")
	look := l.startTTY(5, 20, "attach", "--view", "x")
	if before := look.out.expect(t, "second"); !strings.Contains(before, wide[:20]) || strings.Contains(before, "K") {
		t.Errorf("20 columns show %q", before)
	}
	a.keys("\r")
	look.out.expect(t, "third")
	look.resize(10, 40)
	look.out.expect(t, wide)
	look.out.expect(t, "third")
	look.resize(2, 10)
	if before := look.out.expect(t, "third"); strings.Contains(before, "second") {
		t.Errorf("2 rows show %q", before)
	}
	a.keys("\r")
	a.out.expect(t, "fourth")
	look.out.expect(t, "fourth")
	look.resize(10, 40)
	look.out.expect(t, wide)
	look.out.expect(t, "fourth")
	look.keys("\x03")
	if code := look.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	b := l.startTTY(8, 30, "attach", "x") // the active viewer now
	b.out.expect(t, "fourth")
	b.keys("~d")
	b.wait()
	a.keys("\r")
	a.wait()
}

func TestSeveralViewersSeeTheSame(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo begun; cat "+fifo+"; echo err >&2; exit 2")
	var viewers []*liveProcess
	for range 3 {
		viewers = append(viewers, l.start("attach", "x"), l.start("logs", "-f", "x"))
	}
	for _, v := range viewers {
		v.out.expect(t, "begun\n")
	}
	l.writeFifo(fifo, "more\n")
	for _, v := range viewers {
		v.out.expect(t, "more\n")
		v.errs.expect(t, "err\n")
		want := 2
		if v.cmd.Args[1] == "logs" {
			want = 0
		}
		if code := v.wait(); code != want {
			t.Errorf("%v: exit code %d", v.cmd.Args[1:], code)
		}
	}
}

func TestAnAttachedScriptDoesNotEndTheInput(t *testing.T) {
	l := newLab(t)
	p := l.start("run", "--as", "x", "--", "sh", "-c", `echo ready; read line && echo "got $line"`)
	p.out.expect(t, "ready\n")
	script := l.start("attach", "x")
	script.out.expect(t, "ready\n")
	if err := script.in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.in, "still open\n"); err != nil {
		t.Fatal(err)
	}
	script.out.expect(t, "got still open\n")
}

func TestAttachMakesAShell(t *testing.T) {
	l := newLab(t)
	p := l.startTTY(24, 80, "attach")
	p.keys("echo $KEYWAY_SESSION-$((40+2)) $0\r")
	p.out.expect(t, "shell-42 -")
	p.keys("~d")
	p.out.expect(t, "detached")
	p.wait()
	p = l.startTTY(24, 80, "attach")
	p.out.expect(t, "shell-42 -")
	p.keys("keyway=$KEYWAY_SESSION; exit 6\r")
	p.out.expect(t, "[train/shell ended: exit code 6]")
	if code := p.wait(); code != 6 {
		t.Errorf("exit code %d", code)
	}
	// The next one is a new shell; two at once agree on one.
	a, b := l.startTTY(24, 80, "attach"), l.startTTY(24, 80, "attach")
	a.keys("echo both-$((1+1))\r")
	a.out.expect(t, "both-2")
	b.out.expect(t, "both-2")
	l.session("shell.1")
	if _, err := l.Load("shell.2"); err == nil {
		t.Error("two shells were made")
	}
}

func TestASessionIsNotShownInsideItself(t *testing.T) {
	l := newLab(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := l.keyway("run", "--as", "x", "--", "sh", "-c", program+" attach x")
	if r.code != 2 || !strings.Contains(r.err, "inside itself") {
		t.Errorf("%+v", r)
	}
}

func TestDetachingCleansTheTerminalUp(t *testing.T) {
	l := newLab(t)
	// A full-screen program: alternate screen, mouse, bracketed paste, no cursor, colour.
	const on = `\033[?1049h\033[?1000;1006h\033[?2004h\033[?25l\033[31m\033=`
	l.ok("run", "-d", "-t", "--as", "x", "--", "sh", "-c", `trap 'stty size' WINCH; printf '`+on+`'; echo ready; while :; do sleep 0.1; done`)
	p := l.startTTY(24, 80, "logs", "-f", "--raw", "x")
	p.out.expect(t, "ready") // it has been told its size by then
	p.keys("\x03")
	p.wait()
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "\x1b[?1049h")
	p.out.expect(t, "ready")
	// A program in the alternate screen is asked to redraw.
	p.out.expect(t, "24 80\r\n")
	before, err := unix.IoctlGetTermios(int(p.pty.Fd()), unix.TCGETS)
	if err != nil || before.Lflag&unix.ICANON != 0 {
		t.Errorf("the terminal is not raw: %v", err)
	}
	p.keys("~d")
	// The colour ends with the alternate screen.
	for _, off := range []string{"\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l", "\x1b[?1000l", "\x1b[?1006l", "\x1b>"} {
		p.out.expect(t, off)
	}
	p.out.expect(t, "[detached")
	p.wait()
	// The mode is off even if the program dies with it on. A program that resets its modes itself
	// gets no further sequences.
	p = l.startTTY(24, 80, "attach", "x")
	p.out.expect(t, "ready")
	l.ok("kill", "--grace", "0", "x")
	p.out.expect(t, "\x1b[?1049l")
	p.wait()
	p = l.startTTY(24, 80, "run", "--", "printf", on+`\033>\033[0m\033[?25h\033[?2004l\033[?1006l\033[?1000l\033[?1049l`+"over")
	p.out.expect(t, "over")
	p.wait()
	restored := strings.TrimSuffix(screen.SaveModes, "s") + "r"
	if got := p.out.String(); got != "\x1b[23;0t"+restored+screen.Rest {
		t.Errorf("after the end: %q", got)
	}
}

// TestNothingOfAJobStaysOn checks that every mode that a job has switched on is off after the
// viewer leaves, and after the job has ended or was killed.
func TestNothingOfAJobStaysOn(t *testing.T) {
	data, err := os.ReadFile("../../screen/testdata/stays.txt")
	if err != nil {
		t.Fatal(err)
	}
	var prints strings.Builder
	for line := range strings.Lines(string(data)) {
		if text, err := strconv.Unquote(strings.TrimSpace(line)); err == nil {
			prints.WriteString(text)
		}
	}
	file := filepath.Join(t.TempDir(), "prints")
	if err := os.WriteFile(file, []byte(prints.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(l *lab, p *liveProcess){
		"left":   func(_ *lab, p *liveProcess) { p.keys("~d") },
		"ended":  func(_ *lab, p *liveProcess) { p.keys("\r") },
		"killed": func(l *lab, _ *liveProcess) { l.ok("kill", "--grace", "0", "x") },
		"cut":    func(_ *lab, p *liveProcess) { _ = p.cmd.Process.Signal(unix.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			p := l.startTTY(24, 80, "run", "--as", "x", "--", "sh", "-c", "cat "+file+"; printf '\\033\\\\ready'; read x")
			var all strings.Builder
			all.WriteString(p.out.expect(t, "ready"))
			end(l, p)
			p.wait()
			all.WriteString("ready" + p.out.String())
			s := screen.New(80, 24, screen.Options{Lines: -1})
			_, _ = s.Write([]byte("\x1b]2;mine\x1b\\" + all.String()))
			if undo := s.Undo(nil); len(undo) > 0 || s.Title() != "mine" {
				t.Errorf("what is to be undone is %q, and the title is %q", undo, s.Title())
			}
			if !strings.Contains(all.String(), screen.Rest) {
				t.Error("what every terminal knows is not switched off")
			}
		})
	}
}

// TestASlowViewerDoesNotSlowTheJob checks that a viewer that reads nothing does not slow the job,
// whose output is far more than the buffers between them hold.
func TestASlowViewerDoesNotSlowTheJob(t *testing.T) {
	l := newLab(t)
	const size = 50_000_000
	for _, flag := range []string{"-T", "-t"} {
		fifo := l.fifo()
		l.ok("run", "-d", flag, "--as", "x", "--", "sh", "-c", "cat "+fifo+"; yes 0123456789 | head -c 50000000; echo end; exit 3")
		slow := l.dial("x", wire.Hello{Flags: wire.FlagOutput | wire.FlagInput | wire.FlagScreen, Rows: 24, Cols: 80})
		exact := l.dial("x", wire.Hello{Flags: wire.FlagOutput})
		l.writeFifo(fifo, "")
		if r := l.keyway("wait", "x"); r.code != 3 {
			t.Errorf("%s: %+v", flag, r)
		}
		var skipping, complete tally
		for c, to := range map[*wire.Connection]*tally{slow: &skipping, exact: &complete} {
			status, err := c.Pump(to)
			if err != nil || status.Code != 3 {
				t.Errorf("%s: %v, %v", flag, status, err)
			}
		}
		total := l.session("x").Exit.Output
		if total < size || complete.bytes != total || complete.gaps != 0 {
			t.Errorf("%s: %d bytes of %d came, %d were skipped", flag, complete.bytes, total, complete.gaps)
		}
		if !strings.HasSuffix(string(complete.last), "end\n") && !strings.HasSuffix(string(complete.last), "end\r\n") {
			t.Errorf("%s: it ends in %q", flag, complete.last)
		}
		if skipping.bytes+skipping.gaps != total {
			t.Errorf("%s: %d shown, %d skipped of %d", flag, skipping.bytes, skipping.gaps, total)
		}
		if skips := skipping.gaps > 0; skips != (flag == "-t") {
			t.Errorf("%s: %d bytes were skipped", flag, skipping.gaps)
		}
	}
}

// dial attaches without a program in between.
func (l *lab) dial(name string, h wire.Hello) *wire.Connection {
	l.t.Helper()
	c, err := wire.Connect(l.Registry.Dir+"/"+name, h)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(c.Close)
	return c
}

// tally counts the bytes that it gets.
type tally struct {
	bytes, gaps uint64
	last        []byte
}

func (y *tally) Put(_ wire.Stream, p []byte) error {
	y.bytes += uint64(len(p))
	y.last = append(y.last, p...)
	y.last = y.last[max(0, len(y.last)-64):]
	return nil
}

func (y *tally) Picture([]byte) error { return nil }

func (y *tally) Gap(n uint64) error { y.gaps += n; return nil }

// framed returns messages in their encoded form.
func framed(all ...wire.Message) []byte {
	var sent bytes.Buffer
	_ = wire.NewPeer(&sent).Write(all...)
	return sent.Bytes()
}

func TestHostileViewers(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "cat "+fifo+"; exit 4")
	good := framed(wire.Hello{Version: wire.Version})
	for name, bytes := range map[string][]byte{
		"garbage":          []byte("GET / HTTP/1.1\r\n\r\n"),
		"a huge frame":     {1, 0xff, 0xff, 0xff},
		"an unknown frame": {99, 0, 0, 0},
		"no hello":         framed(wire.Input{Data: []byte("x")}),
		"two hellos":       append(good[:len(good):len(good)], good...),
		"another version":  framed(wire.Hello{Version: 200}),
		"input by one who only looks": append(framed(wire.Hello{Version: wire.Version, Flags: wire.FlagOutput}),
			framed(wire.Input{Data: []byte("x")})...),
		"an end by one who only looks": append(good[:len(good):len(good)], framed(wire.End{GraceMillis: 0})...),
		"news from a viewer":           append(framed(wire.Hello{Version: wire.Version, Flags: wire.FlagInput}), framed(wire.Ended{})...),
		"no signal":                    append(framed(wire.Hello{Version: wire.Version, Flags: wire.FlagInput}), 5, 0, 0, 1, 0),
		"an offset beyond the end":     framed(wire.Hello{Version: wire.Version, Flags: wire.FlagOutput, From: 1 << 63}),
	} {
		conn, err := unixsock.Dial(l.Path("x") + "/sock")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		var timeout net.Error
		if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the holder does not close the connection", name)
		}
		conn.Close()
	}
	var many []*wire.Connection
	for range 64 {
		many = append(many, l.dial("x", wire.Hello{}))
	}
	if _, err := wire.Connect(l.Path("x"), wire.Hello{}); err == nil || !strings.Contains(err.Error(), "too many viewers") {
		t.Errorf("one viewer too many: %v", err)
	}
	for _, c := range many {
		c.Close()
	}
	l.writeFifo(fifo, "")
	if r := l.keyway("wait", "x"); r.code != 4 {
		t.Errorf("%+v", r)
	}
}

// TestAViewerGoesOnFromTheLogOnDisk checks that a holder of an ended session waits for a viewer
// that still reads, and not for one that has stopped. That one reads the rest on disk.
func TestAViewerGoesOnFromTheLogOnDisk(t *testing.T) {
	l := newLab(t)
	fifo := l.fifo()
	p := l.start("run", "--as", "x", "--", "sh", "-c", "echo begun; cat "+fifo+"; yes 0123456789 | head -c 3000000; exit 3")
	p.out.expect(t, "begun\n")
	if err := p.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.writeFifo(fifo, "")
	if r := l.keyway("wait", "x"); r.code != 3 {
		t.Errorf("%+v", r)
	}
	// As if the holder had stopped waiting.
	i := l.session("x")
	if err := unix.Kill(i.Holder, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.holderGone(i)
	if err := p.cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if got := len(p.out.String()); got != 3_000_000 {
		t.Errorf("%d bytes came", got)
	}
}
