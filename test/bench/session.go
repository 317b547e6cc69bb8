//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/creack/pty"

	"keyway/internal/keyway"
	"keyway/test/lab"
)

// The goals.
const (
	targetPrinting    = 0.9        // of a terminal that is drained raw
	targetHolder      = 5_000_000  // bytes, before anything is printed
	targetHolderLines = 12_000_000 // bytes, with screenLines coloured lines
	sessionMegabytes  = 64
	sessionRuns       = 21
	paintRuns         = 299
)

var sessionSection = section{
	name:  "session",
	title: "Sessions",
	lab:   true,
	measure: func(ctx context.Context, b *bench) (string, error) {
		s, err := newSessionBench(ctx)
		if err != nil {
			return "", err
		}
		defer s.close()
		return s.measure(ctx, b)
	},
}

// sessionBench is a workspace on this machine, with the guest as it is shipped, and
// a tmux beside it.
type sessionBench struct {
	dir  string
	home keyway.Home
	tmux *tmux
}

func newSessionBench(ctx context.Context) (*sessionBench, error) {
	dir, err := os.MkdirTemp("", "session")
	if err != nil {
		return nil, err
	}
	s := &sessionBench{dir: dir, home: keyway.Home(filepath.Join(dir, "home"))}
	root, err := lab.ModuleRoot()
	if err == nil {
		err = os.MkdirAll(s.home.Bin(), 0o700)
	}
	if err == nil {
		build := exec.CommandContext(ctx, "make", "guest-"+runtime.GOARCH, "DIST="+dir)
		build.Dir = root
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("make: %w: %s", err, out)
		}
	}
	if err == nil {
		err = os.Rename(filepath.Join(dir, "guest-linux-"+runtime.GOARCH), s.home.Program())
	}
	if err == nil {
		err = os.Symlink(keyway.GuestProgram, filepath.Join(s.home.Bin(), "keyway"))
	}
	if err == nil {
		s.tmux, err = startTmux(dir)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sessionBench) close() {
	if s.tmux != nil {
		s.tmux.stop()
	}
	os.RemoveAll(s.dir)
}

// keyway prepares a command as it is typed in the workspace.
func (s *sessionBench) keyway(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.home.Bin(), "keyway"), args...)
	cmd.Env = append(os.Environ(), keyway.EnvHome+"="+string(s.home), "TERM=xterm-256color")
	return cmd
}

func (s *sessionBench) run(args ...string) (string, error) {
	out, err := s.keyway(args...).Output()
	if err != nil {
		err = fmt.Errorf("keyway %s: %w", strings.Join(args, " "), err)
	}
	return string(out), err
}

// record is a session in the output of keyway ls.
type record struct {
	Holder int
	Exit   *struct{ Started, Ended time.Time }
}

func (s *sessionBench) record(name string) (record, error) {
	var all []struct {
		Name string
		record
	}
	out, err := s.run("ls", "-a", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &all)
	}
	for _, one := range all {
		if one.Name == name {
			return one.record, err
		}
	}
	return record{}, fmt.Errorf("there is no session %s: %w", name, err)
}

func (s *sessionBench) measure(ctx context.Context, b *bench) (string, error) {
	var text strings.Builder
	var t targets
	if err := s.printing(&text, &t); err != nil {
		return "", err
	}
	if err := s.painting(ctx, &text, &t); err != nil {
		return "", err
	}
	if err := s.memory(ctx, &text, &t); err != nil {
		return "", err
	}
	if err := piped(ctx, b, &t); err != nil {
		return "", err
	}
	return text.String() + "\n" + t.String(), ctx.Err()
}

// printing measures a job that prints as fast as it can.
func (s *sessionBench) printing(text io.Writer, t *targets) error {
	fmt.Fprintf(text, "A job that prints %d MB as fast as it can, median of %d runs each, in turn. The session keeps a log and a\nscreen of it; raw means that the bytes are read and thrown away, kept that each read is written to a file.\n\n| output | terminal, raw | kept | session | of raw | of kept |\n|---|--:|--:|--:|--:|--:|\n", sessionMegabytes, sessionRuns)
	for _, kind := range screenOutputs {
		file := filepath.Join(s.dir, "output")
		size, err := kind.write(file, sessionMegabytes*1_000_000)
		if err != nil {
			return err
		}
		var raw, kept, ours []time.Duration
		for range sessionRuns {
			r, err := drainTo(io.Discard, file)
			if err != nil {
				return err
			}
			k, err := s.kept(file)
			if err != nil {
				return err
			}
			o, err := s.printed(file)
			if err != nil {
				return err
			}
			raw, kept, ours = append(raw, r), append(kept, k), append(ours, o)
		}
		rate := func(d []time.Duration) float64 { return mb(int64(size)) / median(d).Seconds() }
		share := rate(ours) / rate(raw)
		fmt.Fprintf(text, "| %s | %.0f MB/s | %.0f MB/s | %.0f MB/s | %.2f × | %.2f × |\n", kind.name, rate(raw), rate(kept), rate(ours), share, rate(ours)/rate(kept))
		t.add(fmt.Sprintf("%s ≥ %.1f × a terminal drained raw", kind.name, targetPrinting), fmt.Sprintf("%.2f ×", share), share >= targetPrinting)
	}
	return nil
}

// printed returns the time in which a session's job has printed a file.
func (s *sessionBench) printed(file string) (time.Duration, error) {
	if _, err := s.run("run", "-d", "-t", "--as", "printing", "--", "cat", file); err != nil {
		return 0, err
	}
	if _, err := s.run("wait", "printing"); err != nil {
		return 0, err
	}
	r, err := s.record("printing")
	if err != nil {
		return 0, err
	}
	_, err = s.run("rm", "--ended")
	return r.Exit.Ended.Sub(r.Exit.Started), err
}

// kept returns the time to print a file to a terminal whose output is copied to another file.
func (s *sessionBench) kept(file string) (time.Duration, error) {
	log, err := os.Create(filepath.Join(s.dir, "kept"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	return drainTo(log, file)
}

// drainTo returns the time to print a file to a terminal, each read of which is written to w.
func drainTo(w io.Writer, file string) (time.Duration, error) {
	began := time.Now()
	cmd := exec.Command("cat", file)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: screenRows, Cols: screenCols})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = f.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return 0, werr
		}
	}
	err = cmd.Wait()
	return time.Since(began), err
}

const painted = "all is painted"

// painting measures the time until a session is visible again.
func (s *sessionBench) painting(ctx context.Context, text io.Writer, t *targets) error {
	show := "seq 5000; printf '" + painted + "'; exec sleep 10000"
	if _, err := s.run("run", "-d", "-t", "--as", "shown", "--", "sh", "-c", show); err != nil {
		return err
	}
	if _, err := s.tmux.run("new-session", "-d", "-s", "shown", show); err != nil {
		return err
	}
	var theirs, ours []time.Duration
	for range paintRuns {
		cmd := exec.CommandContext(ctx, "tmux", "-S", s.tmux.socket, "attach", "-t", "shown")
		cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "TMUX=")
		d, err := firstPaint(cmd)
		if err != nil {
			return fmt.Errorf("tmux attach: %w", err)
		}
		theirs = append(theirs, d)
		if d, err = firstPaint(s.keyway("attach", "shown")); err != nil {
			return fmt.Errorf("keyway attach: %w", err)
		}
		ours = append(ours, d)
	}
	a, b := median(theirs), median(ours)
	fmt.Fprintf(text, "\nFrom attach to the screen, median of %d: tmux %.1f ms, keyway, with the last 2000 lines in the terminal's own\nscrollback, %.1f ms.\n", paintRuns, ms(a), ms(b))
	t.add("attach to first paint ≤ tmux's", fmt.Sprintf("%.2f ×", ratio(b, a)), b <= a)
	_, err := s.run("kill", "--grace", "0", "shown")
	return err
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// firstPaint returns the time until a command shows the painted text.
func firstPaint(cmd *exec.Cmd) (time.Duration, error) {
	began := time.Now()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: screenRows, Cols: screenCols})
	if err != nil {
		return 0, err
	}
	defer f.Close()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	_ = f.SetReadDeadline(time.Now().Add(10 * time.Second))
	var seen []byte
	buf := make([]byte, 64<<10)
	for !bytes.Contains(seen, []byte(painted)) {
		n, err := f.Read(buf)
		if err != nil {
			return 0, fmt.Errorf("%w after %q", err, seen[max(0, len(seen)-200):])
		}
		seen = append(seen, buf[:n]...)
	}
	return time.Since(began), nil
}

// memory measures the memory of a session.
func (s *sessionBench) memory(ctx context.Context, text io.Writer, t *targets) error {
	theirsEmpty, err := s.tmux.resident()
	if err != nil {
		return err
	}
	empty, err := s.holder("empty", "exec sleep 10000")
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "output")
	var b bytes.Buffer
	for i := range screenLines {
		colouredLine(&b, i)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return err
	}
	full, err := s.holder("full", "cat "+file+"; exec sleep 10000")
	if err != nil {
		return err
	}
	if _, err := s.tmux.feed(ctx, file); err != nil {
		return err
	}
	theirs, err := s.tmux.resident()
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "\n| memory | tmux's server | keyway's holder |\n|---|--:|--:|\n| nothing printed | %.1f MB | %.1f MB |\n| %d coloured lines | %.1f MB | %.1f MB |\n",
		mb(theirsEmpty), mb(empty), screenLines, mb(theirs), mb(full))
	t.add(fmt.Sprintf("a holder ≤ %.0f MB", mb(targetHolder)), fmt.Sprintf("%.1f MB", mb(empty)), empty <= targetHolder)
	t.add(fmt.Sprintf("with %d coloured lines ≤ %.0f MB", screenLines, mb(targetHolderLines)), fmt.Sprintf("%.1f MB", mb(full)), full <= targetHolderLines)
	return nil
}

// atRest is the time after which a holder has released the memory that it needs only while it
// works.
const atRest = 3 * time.Second

// holder returns the memory of a session's holder when its job has printed everything and sleeps.
func (s *sessionBench) holder(name, script string) (int64, error) {
	script = "printf begun; " + strings.Replace(script, "exec", "printf '\\n"+painted+"\\n'; exec", 1)
	if _, err := s.run("run", "-d", "-t", "--as", name, "--", "sh", "-c", script); err != nil {
		return 0, err
	}
	if _, err := firstPaint(s.keyway("attach", name)); err != nil {
		return 0, err
	}
	r, err := s.record(name)
	if err != nil {
		return 0, err
	}
	time.Sleep(atRest)
	size, err := procField(r.Holder, "status", "VmRSS")
	if err == nil {
		_, err = s.run("kill", "--grace", "0", name)
	}
	return size, err
}
