//go:build linux

package words

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keyway/internal/keyway"
)

// tinyDisk returns a file system of that many KiB.
func tinyDisk(t *testing.T, kib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
		t.Fatalf("this test mounts a small file system, for which it must be root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskDoesNotStopTheJob(t *testing.T) {
	l := newLabIn(t, tinyDisk(t, 512))
	fifo := l.fifo()
	// More than the disk holds, then a pause in which the disk stays full, then the end.
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "echo begun; yes 0123456789 | head -c 5000000; cat "+fifo+"; echo end; exit 6")
	p := l.start("attach", "x")
	p.out.expect(t, "0123456789\n") // it has come before the job's end
	l.writeFifo(fifo, "released\n")
	p.out.expect(t, "released\nend\n") // viewers see it nevertheless
	if code := p.wait(); code != 6 {
		t.Errorf("exit code %d: %s", code, p.errs)
	}
	i := l.session("x")
	if i.Exit == nil || i.Exit.Code != 6 || i.Exit.Lost == 0 || i.Exit.LogErr != "no space left" || i.Exit.Output < 5_000_000 {
		t.Fatalf("exit record %+v", i.Exit)
	}
	r := l.keyway("logs", "x")
	if !strings.HasPrefix(r.out, "begun\n0123456789\n") || uint64(len(r.out)) != i.Exit.Output-i.Exit.Lost {
		t.Errorf("%d bytes of the log are left, %d of %d are lost; %s", len(r.out), i.Exit.Lost, i.Exit.Output, r.err)
	}
	if r := l.keyway("ls"); !strings.Contains(r.out, "exit code 6") || !strings.Contains(r.out, "of its log lost: no space left") {
		t.Errorf("ls: %s", r.out)
	}
	if r := l.keyway("run", "--as", "y", "--", "true"); r.code != 25 || !strings.Contains(r.err, "df -h") {
		t.Errorf("a new session on a full disk: %+v", r)
	}
	if _, err := os.Stat(l.Path("y")); !os.IsNotExist(err) {
		t.Errorf("it left something behind: %v", err)
	}
}

func TestTheLogGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	disk := tinyDisk(t, 1024)
	l := newLabIn(t, disk)
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 700<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	full, again := l.fifo(), l.fifo() // a writer that follows at once would write to the previous reader
	l.ok("run", "-d", "--as", "x", "--", "sh", "-c", "yes 0123456789 | head -c 500000; cat "+full+"; while read line; do echo \"$line\"; sleep 0.05; done <"+again)
	p := l.start("attach", "x")
	l.writeFifo(full, "full\n")
	p.out.expect(t, "full\n")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// The holder tries again after a while: two seconds of lines suffice.
	l.writeFifo(again, strings.Repeat("again\n", 40)+"last\n")
	if r := l.keyway("wait", "x"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	r := l.keyway("logs", "x")
	if !strings.HasSuffix(r.out, "again\nlast\n") || !strings.Contains(r.err, "bytes skipped]") {
		t.Errorf("the log ends in %q; %s", r.out[max(0, len(r.out)-40):], r.err)
	}
	if exit := l.session("x").Exit; exit.Lost == 0 || uint64(len(r.out))+exit.Lost != exit.Output {
		t.Errorf("%d bytes in the log, record %+v", len(r.out), exit)
	}
}

// TestAnswersThatCannotBeWritten checks that a command whose answer did not fit on a disk says so by
// its exit code.
func TestAnswersThatCannotBeWritten(t *testing.T) {
	l := newLab(t)
	for _, args := range [][]string{
		{"run", "-d", "--as", "x", "--", "true"}, {"run", "--", "echo", "x"}, {"ls"}, {"ls", "--json"},
		{"ports", "--json"}, {"--help"}, {"run", "--help"}, {"version"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := l.cmd(args...)
		cmd.Stdout = full
		var errs strings.Builder
		cmd.Stderr = &errs
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != keyway.ExitCode(keyway.Errorf(keyway.NoSpace, "")) || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%q: exit code %d, %s", args, code, &errs)
		}
		full.Close()
	}
}
