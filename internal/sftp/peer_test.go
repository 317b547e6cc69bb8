//go:build linux

package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keyway/internal/sshwire"
)

// openssh is the judge: OpenSSH's own server.
const openssh = "/usr/lib/openssh/sftp-server"

// serverEnv makes this test's program a server on its standard input and output.
const serverEnv = "KEYWAY_TEST_SFTP_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) == "" {
		os.Exit(m.Run())
	}
	dir, err := unix.Getwd()
	if err == nil {
		err = Serve(context.Background(), stdio{}, Config{Home: dir})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(255)
	}
	os.Exit(0)
}

type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

// account is the user that a server runs as.
type account struct {
	name string
	id   uint32
}

var (
	root   = account{"root", 0}
	nobody = account{"nobody", 65534} // a user without root's rights
)

// accounts returns the accounts under which the test can run.
func accounts() []account {
	if os.Getuid() == 0 {
		return []account{root, nobody}
	}
	return []account{{os.Getenv("USER"), uint32(os.Getuid())}}
}

// peer is a server under test: a process in a directory of its own.
type peer struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Reader
	stderr bytes.Buffer
}

// limit ends a server that hangs.
const limit = 2 * time.Minute

func startPeer(t *testing.T, dir string, who account, argv ...string) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	p := &peer{t: t, dir: dir, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	p.cmd.Dir = dir
	// By default the race detector makes each of these processes wait a second at its end.
	p.cmd.Env = []string{serverEnv + "=1", "USER=" + who.name, "TZ=Asia/Kathmandu", "GORACE=atexit_sleep_ms=0"}
	p.cmd.Stderr = &p.stderr
	if who.id != uint32(os.Getuid()) {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.id, Gid: who.id}}
	}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v (Debian: openssh-sftp-server)", err)
	}
	t.Cleanup(func() { p.in.Close(); cancel(); _ = p.cmd.Wait() })
	return p
}

// mark is a request with a known answer: all answers before that one belong to earlier requests.
var mark = func() []byte {
	b := append([]byte{fxpExtended}, 0xff, 0xff, 0xff, 0xfe)
	return frame(sshwire.AppendString(b, "mark@keyway"))
}()

func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

func isMark(answer []byte) bool {
	return len(answer) >= 5 && answer[0] == fxpStatus && binary.BigEndian.Uint32(answer[1:]) == 0xfffffffe
}

// ask sends requests and a mark, and returns the answers before the mark's; more
// is false if the server has ended.
func (p *peer) ask(requests []byte) (answers [][]byte, more bool) {
	go func() { // the server may be unable to read on before its answers are read
		_, _ = p.in.Write(append(slices.Clip(requests), mark...))
	}()
	for {
		var header [4]byte
		if _, err := io.ReadFull(p.out, header[:]); err != nil {
			return answers, false
		}
		answer := make([]byte, binary.BigEndian.Uint32(header[:]))
		if _, err := io.ReadFull(p.out, answer); err != nil {
			p.t.Fatalf("%v ended within an answer: %v", p.cmd.Args, err)
		}
		if isMark(answer) {
			return answers, true
		}
		answers = append(answers, answer)
	}
}

// end closes the client's side and reports whether the server exited with 0.
func (p *peer) end() bool {
	p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return err == nil
}

// old is the time of all changes in a new tree; since is a moment before the test. Later times are
// not compared, because the servers run one after the other.
var (
	old   = time.Unix(1_600_000_000, 0)
	since = time.Now().Add(-time.Hour)
)

// secret belongs to root in every tree.
const secret = "secret"

// plant makes the initial tree of the tests: all kinds of files, and odd names.
func plant(t *testing.T, dir string, who account) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	do(os.MkdirAll(at("dir/sub/deep"), 0o755))
	do(os.Mkdir(at("empty"), 0o700))
	do(os.Mkdir(at(secret), 0o700))
	do(os.WriteFile(at("file"), []byte("The quick brown fox jumps over the lazy dog.\n"), 0o644))
	do(os.WriteFile(at("dir/inner"), bytes.Repeat([]byte("0123456789abcdef"), 20000), 0o600))
	do(os.WriteFile(at("readonly"), []byte("r"), 0o444))
	do(os.WriteFile(at("setid"), []byte("s"), 0o755))
	do(os.WriteFile(at("späße \xff"), nil, 0o640))
	do(os.WriteFile(at(secret+"/key"), []byte("k"), 0o600))
	do(os.Symlink("file", at("link")))
	do(os.Symlink("dir", at("dirlink")))
	do(os.Symlink("nowhere", at("dangling")))
	do(os.Symlink("nodir/nowhere", at("lost")))
	do(os.Symlink("loop", at("loop")))
	do(os.Symlink(dir+"/dir/../file", at("absolute")))
	do(os.Symlink("../../dirlink/inner", at("dir/sub/far")))
	do(os.Link(at("file"), at("twin")))
	do(unix.Mknod(at("socket"), unix.S_IFSOCK|0o600, 0))
	do(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.Contains(path, secret) {
			do(os.Lchown(path, int(who.id), int(who.id)))
		}
		ts := []unix.Timespec{unix.NsecToTimespec(old.UnixNano()), unix.NsecToTimespec(old.UnixNano())}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	}))
	do(unix.Chmod(at("setid"), 0o6755)) // after its owner
}

// tree returns the remaining files of a directory, as lines.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil {
			return err
		}
		mtime := st.Mtim.Sec
		if mtime > since.Unix() && mtime < time.Now().Unix()+2 {
			mtime = -1
		}
		fmt.Fprintf(&b, "%s %o %d:%d %d links %d changed %d ", strings.TrimPrefix(path, dir), st.Mode, st.Uid, st.Gid,
			st.Size, st.Nlink, mtime)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			fmt.Fprintf(&b, "-> %s %v", strings.ReplaceAll(target, dir, "DIR"), err)
		case unix.S_IFREG:
			if st.Size > 1<<22 {
				break // sparse
			}
			data, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%x %v", data, err)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
