//go:build linux

package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	model "keyway/internal/screen"
)

//go:embed board.py
var boardScript string

// reattach draws in a session's terminal, kills the bastion, closes the window, and shows the same
// screen in a new window.
func (t *tour) reattach() error {
	if err := t.lab.Laptop.WriteFile("/root/board.py", boardScript, 0o644); err != nil {
		return err
	}
	if _, err := t.quietly("scp", "-q", "board.py", "train:"); err != nil {
		return err
	}
	if _, err := t.run("keyway", "run", "train", "-d", "-t", "--as", "board", "--", "python3", "board.py"); err != nil {
		return err
	}
	var before, after picture
	err := t.screen.step("laptop$ keyway attach train/board      (then the bastion is killed, and the window closed)", func() (err error) {
		before, err = t.drawAndLose()
		return err
	})
	if err != nil {
		return err
	}
	err = t.screen.step("laptop$ keyway attach train/board      (a new window has every character and colour of it)", func() (err error) {
		after, err = t.findAgain(before)
		return err
	})
	t.screen.show(after.text)
	return err
}

// drawAndLose attaches, lets the job draw, and loses the connection and the window. It returns the
// last screen.
func (t *tour) drawAndLose() (picture, error) {
	w, err := t.openWindow("keyway", "attach", "train/board")
	if err != nil {
		return picture{}, err
	}
	defer w.close()
	if err := errors.Join(w.await("Enter starts"), w.typeIn("\r"), w.await("Enter goes on")); err != nil {
		return picture{}, err
	}
	return w.picture(), t.killBastion()
}

// findAgain attaches in a new window, compares, and lets the job finish.
func (t *tour) findAgain(before picture) (picture, error) {
	w, err := t.openWindow("keyway", "attach", "train/board")
	if err != nil {
		return picture{}, err
	}
	defer w.close()
	if !w.awaitThat(func(now picture) bool { return now == before }) {
		now := w.picture()
		return now, fmt.Errorf("before it showed\n%s%q\nand now\n%s%q", before.text, before.all, now.text, now.all)
	}
	return before, errors.Join(w.typeIn("\r"), w.await("trained"), w.wait())
}

// window is a user's terminal with a program in it.
type window struct {
	cmd    *exec.Cmd
	file   *os.File
	stop   func()
	change chan struct{} // has something when there is news; closed at the end of output

	mu    sync.Mutex
	model *model.Screen
}

const windowCols, windowRows = 80, 24

func (t *tour) openWindow(argv ...string) (*window, error) {
	w := &window{cmd: t.laptop(argv...), change: make(chan struct{}, 1), model: model.New(windowCols, windowRows, model.Options{})}
	w.cmd.Env = append(w.cmd.Env, "TERM=xterm-256color")
	file, err := pty.StartWithSize(w.cmd, &pty.Winsize{Rows: windowRows, Cols: windowCols})
	if err != nil {
		return nil, err
	}
	if w.file, err = closable(file); err != nil {
		return nil, err
	}
	w.stop = t.killWhenDone(w.cmd)
	go w.show() // ends with the window
	return w, nil
}

// closable returns f as a file whose Close interrupts a Read: without that, closing it would not
// hang up the terminal.
func closable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (w *window) show() {
	defer close(w.change)
	buf := make([]byte, 32<<10)
	for {
		n, err := w.file.Read(buf)
		w.mu.Lock()
		_, _ = w.model.Write(buf[:n])
		w.mu.Unlock()
		if err != nil { // EIO once no process has the other end open
			return
		}
		select {
		case w.change <- struct{}{}:
		default:
		}
	}
}

// picture is the complete content of a window.
type picture struct {
	text string // without colours, for readers
	all  string // bytes that draw it, with colours and cursor
}

func (w *window) picture() picture {
	w.mu.Lock()
	defer w.mu.Unlock()
	return picture{string(w.model.Text(nil)), string(w.model.Snapshot(nil))}
}

// windowTimeout bounds the time until a window shows a text.
const windowTimeout = time.Minute

func (w *window) await(want string) error {
	if !w.awaitThat(func(now picture) bool { return strings.Contains(now.text, want) }) {
		return fmt.Errorf("%q does not appear in\n%s", want, w.picture().text)
	}
	return nil
}

// awaitThat waits until the window satisfies a condition. It returns false if that takes too long,
// or the program ends before.
func (w *window) awaitThat(ok func(picture) bool) bool {
	late := time.After(windowTimeout)
	for open := true; !ok(w.picture()); {
		if !open {
			return false
		}
		select {
		case _, open = <-w.change:
		case <-late:
			return false
		}
	}
	return true
}

func (w *window) typeIn(keys string) error {
	_, err := w.file.WriteString(keys)
	return err
}

// wait returns when the program has ended.
func (w *window) wait() error { return w.cmd.Wait() }

// close closes the window, whatever program runs in it.
func (w *window) close() {
	w.file.Close()
	_ = w.cmd.Wait() // it gets SIGHUP
	for range w.change {
	}
	w.stop()
}
