// Record records what real programs print in a terminal of 100 columns and 30
// rows, for the tests of the terminal model, into internal/screen/testdata:
//
//	go run ./test/record [NAME…]
//
// It runs them in namespaces of their own (which needs root), so that a recording does not depend
// on the machine, and with the programs of Debian's packages vim, less, htop, git, procps,
// python3-tqdm and python3-rich.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/creack/pty"
)

const (
	out  = "internal/screen/testdata"
	cols = 100
	rows = 30
)

func main() {
	log.SetFlags(0)
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, p := range programs {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], p.name) {
			continue
		}
		home := filepath.Join(dir, p.name)
		if err := prepare(home); err != nil {
			log.Fatal(err)
		}
		output, err := record(p, home)
		if err != nil {
			log.Fatalf("%s: %v", p.name, err)
		}
		if err := os.WriteFile(filepath.Join(out, p.name+".raw"), output, 0o666); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-12s %6d bytes\n", p.name, len(output))
	}
}

// prepare makes the directory that a program runs in.
func prepare(home string) error {
	if err := os.MkdirAll(filepath.Join(home, "data.d"), 0o755); err != nil {
		return err
	}
	for name, text := range files {
		mode := os.FileMode(0o644)
		if bytes.HasPrefix([]byte(text), []byte("#!")) {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), mode); err != nil {
			return err
		}
	}
	return os.Symlink("words.txt", filepath.Join(home, "link"))
}

// isolated is the script that runs before every program: only this machine's programs are visible
// to it.
const isolated = `mount --bind "$DIR" /mnt && cd /mnt && hostname box && exec "$@"`

func record(p program, home string) ([]byte, error) {
	cmd := exec.Command("unshare", append([]string{"-mpuf", "--kill-child", "--mount-proc", "sh", "-c", isolated, "sh"}, p.command...)...)
	cmd.Env = []string{
		"DIR=" + home, "HOME=/mnt", "PATH=/usr/bin:/bin:/usr/sbin:/sbin", "TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8", "USER=root",
		"PS1=$ ", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org",
		"GIT_AUTHOR_DATE=2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2024-01-01T00:00:00Z", "GIT_PAGER=cat", "LESSHISTFILE=-",
	}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		return nil, err
	}
	defer terminal.Close()
	chunks := make(chan []byte)
	go read(terminal, chunks) // ends with the program, which closes chunks
	output := quiet(chunks, p.patience())
	for _, keys := range p.keys {
		if _, err := terminal.WriteString(keys); err != nil {
			return nil, err
		}
		output = append(output, quiet(chunks, p.patience())...)
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	terminal.Close()
	for range chunks {
	}
	_ = cmd.Wait()
	if bytes.Contains(output, []byte(home)) {
		return nil, fmt.Errorf("the recording names %s", home)
	}
	return output, nil
}

func read(from *os.File, to chan<- []byte) {
	defer close(to)
	for {
		buf := make([]byte, 4096)
		n, err := from.Read(buf)
		if n > 0 {
			to <- buf[:n]
		}
		if err != nil {
			return
		}
	}
}

// quiet collects output until it has paused for patience, or for ten times patience.
func quiet(chunks <-chan []byte, patience time.Duration) (output []byte) {
	deadline := time.After(10 * patience)
	output = <-chunks
	for {
		select {
		case chunk, ok := <-chunks:
			if !ok {
				return output
			}
			output = append(output, chunk...)
		case <-time.After(patience):
			return output
		case <-deadline:
			return output
		}
	}
}
