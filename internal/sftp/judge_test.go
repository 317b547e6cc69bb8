//go:build linux

package sftp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keyway/internal/sshwire"
)

// pair is our server and the judge, each in a tree of its own. The trees are equal.
type pair struct {
	t            *testing.T
	ours, theirs *peer
	asked        []string // the earlier requests
}

// twins makes the two trees. Their paths have the same length.
func twins(t *testing.T, who account) (ours, theirs string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kwsftp") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ours, theirs = filepath.Join(dir, "us"), filepath.Join(dir, "op")
	plant(t, ours, who)
	plant(t, theirs, who)
	return ours, theirs
}

// program returns the path of a copy of this test's program that every user can execute.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755)
	}
	return path
}

func newPair(t *testing.T, server string, who account) *pair {
	t.Helper()
	ours, theirs := twins(t, who)
	p := &pair{t: t, ours: startPeer(t, ours, who, server), theirs: startPeer(t, theirs, who, openssh, "-u", "022")}
	return p
}

// same sends both servers the same requests and compares their answers. It reports whether both
// continue.
func (p *pair) same(what string, ask func(dir string) []byte) bool {
	p.t.Helper()
	ours, more := p.ours.ask(ask(p.ours.dir))
	theirs, theirMore := p.theirs.ask(ask(p.theirs.dir))
	a, b := show(ours, p.ours.dir), show(theirs, p.theirs.dir)
	if a != b || more != theirMore {
		p.t.Fatalf("%s\nafter %.2000s:\nkeyway answers (goes on: %v)\n%s\nOpenSSH answers (goes on: %v)\n%s\n%s", what, strings.Join(p.asked, ", "),
			more, a, theirMore, b, p.ours.stderr.String())
	}
	p.asked = append(p.asked, what)
	return more
}

// done ends both and compares the trees that they leave.
func (p *pair) done() {
	p.t.Helper()
	if a, b := p.ours.end(), p.theirs.end(); a != b {
		p.t.Errorf("after %s: keyway is content: %v, OpenSSH: %v\n%s", strings.Join(p.asked, ", "), a, b, p.ours.stderr.String())
	}
	a, b := strings.Split(tree(p.t, p.ours.dir), "\n"), strings.Split(tree(p.t, p.theirs.dir), "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			p.t.Fatalf("after %s: the trees differ\nkeyway:  %.300s\nOpenSSH: %.300s", strings.Join(p.asked, ", "), a[min(i, len(a)-1)], b[min(i, len(b)-1)])
		}
	}
}

// show returns answers as text, without the parts that may differ.
func show(answers [][]byte, dir string) string {
	var b strings.Builder
	for _, a := range answers {
		f := &fields{Reader: sshwire.NewReader(a)}
		kind := f.Byte()
		id := f.Uint32()
		fmt.Fprintf(&b, "  %d id %d: ", kind, id)
		switch kind {
		case fxpStatus:
			code := f.Uint32()
			fmt.Fprintf(&b, "status %d %q", code, status(min(code, 8)).Error())
			if f.More() && f.Text() == "" {
				b.WriteString(" without a text")
			}
			f.String()
		case fxpAttrs:
			b.WriteString(showAttributes(f.attributes()))
		case fxpName:
			showNames(&b, f, dir)
		default:
			rest := bytes.Clone(f.Rest())
			switch len(rest) {
			case 11 * 8: // of a file system: what is free changes
				clear(rest[3*8 : 8*8])
			case 4 * 8: // limits: each server has its own number of handles
				clear(rest[3*8:])
			}
			fmt.Fprintf(&b, "%d bytes %x", len(rest), clip(rest))
			f.take()
		}
		fmt.Fprintf(&b, " %v\n", f.End())
	}
	return b.String()
}

// take reads the rest.
func (f *fields) take() {
	for f.More() {
		f.Byte()
	}
}

// clip keeps an answer's message readable; its end is compared by a sum.
func clip(b []byte) []byte {
	if len(b) <= 200 {
		return b
	}
	sum := uint64(0)
	for i, c := range b {
		sum = sum*31 + uint64(c) + uint64(i)
	}
	return binary.BigEndian.AppendUint64(slices.Clone(b[:100]), sum)
}

func showTime(s uint32) string {
	if t := time.Unix(int64(s), 0); t.After(since) && t.Before(time.Now().Add(2*time.Second)) {
		return "now"
	}
	return fmt.Sprint(s)
}

func showAttributes(a attributes) string {
	return fmt.Sprintf("flags %x size %d %d:%d mode %o times %s %s", a.flags, a.size, a.uid, a.gid, a.mode,
		showTime(a.atime), showTime(a.mtime))
}

// showNames sorts them: two directories need not have one order.
func showNames(b *strings.Builder, f *fields, dir string) {
	var lines []string
	n := f.Uint32()
	for range n {
		name, long := f.Text(), f.Text()
		a := f.attributes()
		if showTime(a.mtime) == "now" && len(long) > len(name)+12 {
			cut := len(long) - len(name) - 12
			long = long[:cut-1] + long[cut+12:]
		}
		lines = append(lines, fmt.Sprintf("\n    %q %q %s", strings.ReplaceAll(name, dir, "DIR"), strings.ReplaceAll(long, dir, "DIR"), showAttributes(a)))
	}
	slices.Sort(lines)
	fmt.Fprintf(b, "%d names%s", n, strings.Join(lines, ""))
}

// writer encodes requests as one message.
type writer struct {
	b  []byte
	id uint32
}

// request appends a request; its fields are uint32, uint64, string, []byte (as it
// is) and attributes.
func (w *writer) request(kind byte, values ...any) {
	w.id++
	b := sshwire.AppendUint32([]byte{kind}, w.id)
	for _, v := range values {
		switch v := v.(type) {
		case int:
			b = sshwire.AppendUint32(b, uint32(v))
		case uint32:
			b = sshwire.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		case string:
			b = sshwire.AppendString(b, v)
		case []byte:
			b = append(b, v...)
		case attributes:
			b = append(b, v.wire()...)
		default:
			panic(fmt.Sprintf("a field of type %T", v))
		}
	}
	w.b = append(w.b, frame(b)...)
}

func (a attributes) wire() []byte {
	b := sshwire.AppendUint32(nil, a.flags)
	if a.flags&attrSize != 0 {
		b = binary.BigEndian.AppendUint64(b, a.size)
	}
	if a.flags&attrOwner != 0 {
		b = sshwire.AppendUint32(sshwire.AppendUint32(b, a.uid), a.gid)
	}
	if a.flags&attrPermissions != 0 {
		b = sshwire.AppendUint32(b, a.mode)
	}
	if a.flags&attrTimes != 0 {
		b = sshwire.AppendUint32(sshwire.AppendUint32(b, a.atime), a.mtime)
	}
	if a.flags&attrExtended != 0 {
		b = sshwire.AppendString(sshwire.AppendString(sshwire.AppendUint32(b, 1), "x@y"), "data")
	}
	return b
}

// h returns a handle as it is on the wire.
func h(n uint32) string { return string(sshwire.AppendUint32(nil, n)) }

// once returns one request as the input of same.
func once(kind byte, values ...any) func(string) []byte {
	return func(dir string) []byte {
		w, here := &writer{}, slices.Clone(values)
		for i, v := range here {
			if s, ok := v.(string); ok {
				here[i] = strings.ReplaceAll(s, "DIR", dir)
			}
		}
		w.request(kind, here...)
		return w.b
	}
}

// hello returns the first message.
func hello(version uint32) func(string) []byte {
	return func(string) []byte { return frame(sshwire.AppendUint32([]byte{fxpInit}, version)) }
}

func begin(t *testing.T, server string, who account) *pair {
	t.Helper()
	p := newPair(t, server, who)
	p.same("version", hello(3))
	return p
}

// names are all kinds of paths in a tree.
var names = []string{
	"file", "twin", "link", "dirlink", "dangling", "lost", "loop", "dir", "empty", "dir/inner", "dir/sub/far", "readonly", "setid",
	"späße \xff", "none", "none/x", "none/", "none/..", "file/", "file/x", "file/..", "file/.", "dir/", "dir/.", "dir/..", "dir/../file", "dirlink/..",
	"dirlink/inner", "dirlink/", "dangling/", "dangling/x", "./file", ".//dir//inner", "..", "../..", ".", "", "/", "//", "/..", "/.", "//etc/../etc/",
	"DIR/file", "DIR/dirlink/sub/../inner", "absolute", "absolute/", "socket", secret, secret + "/key", secret + "/new", "file\x00", strings.Repeat("n", 255),
	strings.Repeat("n", 256), strings.Repeat("x/", 2047), strings.Repeat("./", 2100), "/" + strings.Repeat("y", 5000), "~", "~/file", "-", "*", "new\nline",
}

// TestNames runs each request with one name on each kind of file, each in a new tree, and compares
// the answers with those of OpenSSH's server.
func TestNames(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			p := begin(t, server, who)
			for _, name := range names {
				for kind, what := range map[byte]string{fxpStat: "stat", fxpLstat: "lstat", fxpRealpath: "realpath", fxpReadlink: "readlink"} {
					p.same(fmt.Sprintf("%s %.40q", what, name), once(kind, name))
				}
				for _, extension := range []string{"statvfs@openssh.com", "expand-path@openssh.com", "home-directory"} {
					p.same(fmt.Sprintf("%s %.40q", extension, name), once2(extension, name))
				}
			}
			p.done()
			for _, kind := range []byte{fxpRemove, fxpRmdir, fxpMkdir, fxpOpendir} {
				p := begin(t, server, who)
				for _, name := range names {
					if strings.Trim(name, "/.") == "" {
						continue // not what the trees are in
					}
					p.same(fmt.Sprintf("%d %.40q", kind, name), once(kind, name, attributes{}))
				}
				p.done()
			}
		})
	}
}

// once2 returns one extended request as the input of same.
func once2(name string, values ...any) func(string) []byte {
	return once(fxpExtended, append([]any{name}, values...)...)
}

// TestPairsOfNames renames and links each kind of file to each kind, and compares the answers with
// those of OpenSSH's server.
func TestPairsOfNames(t *testing.T) {
	t.Parallel()
	server := program(t)
	kinds := []string{
		"file", "twin", "link", "dirlink", "dangling", "loop", "dir", "empty", "socket", "none", "none/x", "file/x", "empty/", "empty/x", "readonly",
		"dir/inner", secret + "/key", secret + "/new", "", ".", "DIR/file", "dir/sub",
	}
	ways := map[string]func(from, to string) func(string) []byte{
		"rename":       func(from, to string) func(string) []byte { return once(fxpRename, from, to) },
		"symlink":      func(from, to string) func(string) []byte { return once(fxpSymlink, from, to) },
		"posix-rename": func(from, to string) func(string) []byte { return once2("posix-rename@openssh.com", from, to) },
		"hardlink":     func(from, to string) func(string) []byte { return once2("hardlink@openssh.com", from, to) },
	}
	for _, who := range accounts() {
		for name, way := range ways {
			t.Run(who.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				for _, from := range kinds {
					p := begin(t, server, who)
					for _, to := range kinds {
						p.same(fmt.Sprintf("%s %q %q", name, from, to), way(from, to))
					}
					p.done()
				}
			})
		}
	}
}

// TestOpen opens each kind of file with each combination of flags, and reads and writes at its
// beginning, at its end and far beyond. It compares the answers with those of OpenSSH's server.
func TestOpen(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			for flags := range 128 { // one more than there are
				p := begin(t, server, who)
				for i, name := range []string{"file", "new", "link", "dangling", "dir", "readonly", "none/x", secret + "/key", "socket", "absolute"} {
					a := attributes{}
					if i%2 == 1 {
						a = attributes{flags: attrPermissions, mode: 0o104751}
					}
					p.same(fmt.Sprintf("open %s %#x", name, flags), once(fxpOpen, name, flags, a))
					for _, offset := range []uint64{0, 20, 45, 1000, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
						p.same(fmt.Sprintf("read at %d", offset), once(fxpRead, h(0), offset, 16))
						if offset < 1<<33 || offset > 1<<62 { // not every file system has room
							p.same(fmt.Sprintf("write at %d", offset), once(fxpWrite, h(0), offset, "some"))
						}
					}
					p.same("write nothing", once(fxpWrite, h(0), uint64(7), ""))
					p.same("read nothing", once(fxpRead, h(0), uint64(3), 0))
					p.same("fstat", once(fxpFstat, h(0)))
					p.same("fsync", once2("fsync@openssh.com", h(0)))
					p.same("close", once(fxpClose, h(0)))
				}
				p.done()
			}
		})
	}
}

// settings are attributes to be set.
var settings = []attributes{
	{},
	{flags: attrSize, size: 5},
	{flags: attrSize, size: 100},
	{flags: attrSize, size: 1 << 63},
	{flags: attrPermissions, mode: 0o600},
	{flags: attrPermissions, mode: 0o107777},
	{flags: attrPermissions, mode: 0},
	{flags: attrTimes, atime: 1, mtime: 2},
	{flags: attrTimes, atime: 1<<32 - 1, mtime: 1<<32 - 2},
	{flags: attrOwner, uid: 65534, gid: 65534},
	{flags: attrOwner, uid: 1<<32 - 1, gid: 1<<32 - 1},
	{flags: attrOwner, uid: 0, gid: 0},
	{flags: attrOwner | attrPermissions | attrSize | attrTimes, uid: 65534, gid: 65534, mode: 0o4711, size: 3, atime: 5, mtime: 6},
	{flags: attrExtended | attrPermissions, mode: 0o640},
	{flags: attrExtended},
	{flags: 1 << 20},
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			for i, a := range settings {
				p := begin(t, server, who)
				for _, name := range []string{"file", "link", "dir", "dangling", "dirlink", "loop", "none", "readonly", secret + "/key", "", "setid", "socket"} {
					p.same(fmt.Sprintf("lsetstat %s %d", name, i), once2("lsetstat@openssh.com", name, a))
					p.same(fmt.Sprintf("setstat %s %d", name, i), once(fxpSetstat, name, a))
					p.same(fmt.Sprintf("mkdir %s %d", name, i), once(fxpMkdir, name+"-made", a))
					p.same("open", once(fxpOpen, name, openRead, attributes{}))
					p.same("fsetstat for reading", once(fxpFsetstat, h(0), a))
					p.same("close", once(fxpClose, h(0)))
					p.same("open", once(fxpOpen, name, openRead|openWrite, attributes{}))
					p.same("fsetstat", once(fxpFsetstat, h(0), a))
					p.same("close", once(fxpClose, h(0)))
					p.same("stat", once(fxpLstat, name))
				}
				p.done()
			}
		})
	}
}

// TestDirectories lists all directories, the large one in several answers, and compares the answers
// with those of OpenSSH's server.
func TestDirectories(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		p := begin(t, server, who)
		p.same("times of this year", once(fxpSetstat, "file", attributes{flags: attrTimes, mtime: uint32(time.Now().Add(-100 * 24 * time.Hour).Unix())}))
		p.same("times to come", once(fxpSetstat, "readonly", attributes{flags: attrTimes, mtime: uint32(time.Now().Add(100 * 24 * time.Hour).Unix())}))
		p.same("an old file", once(fxpSetstat, "dir/inner", attributes{flags: attrTimes, mtime: 0}))
		for _, name := range []string{".", "dir", "empty", "dirlink", "dir/", secret, "/proc/sys/kernel/pty", "/dev"} {
			p.same("opendir "+name, once(fxpOpendir, name))
			if name == "/dev" {
				p.same("close", once(fxpClose, h(0)))
				continue
			}
			for range 3 {
				p.same("readdir "+name, once(fxpReaddir, h(0)))
			}
			p.same("a file's request", once(fxpRead, h(0), uint64(0), 10))
			p.same("a file's request", once(fxpWrite, h(0), uint64(0), "x"))
			p.same("a file's request", once(fxpFstat, h(0)))
			p.same("a file's request", once(fxpFsetstat, h(0), attributes{flags: attrPermissions}))
			p.same("a file's request", once2("fsync@openssh.com", h(0)))
			p.same("a file's request", once2("fstatvfs@openssh.com", h(0)))
			p.same("close", once(fxpClose, h(0)))
			p.same("readdir", once(fxpReaddir, h(0)))
		}
		p.done()
		for i := range 250 {
			for _, dir := range []string{p.ours.dir, p.theirs.dir} {
				if err := os.WriteFile(fmt.Sprintf("%s/dir/sub/deep/%03d", dir, i), nil, 0o604); err != nil {
					t.Fatal(err)
				}
			}
		}
		if a, b := listAll(t, p.ours.dir, who, server), listAll(t, p.theirs.dir, who, openssh); a != b || !strings.Contains(a, "249") {
			t.Errorf("a large directory: keyway\n%s\nOpenSSH\n%s", a, b)
		}
	}
}

// listAll returns a large directory as a server lists it.
func listAll(t *testing.T, dir string, who account, server string) string {
	p := startPeer(t, dir, who, server)
	p.ask(hello(3)(dir))
	p.ask(once(fxpOpendir, "dir/sub/deep")(dir))
	var all []string
	for {
		answers, _ := p.ask(once(fxpReaddir, h(0))(dir))
		if answers[0][0] != fxpName {
			slices.Sort(all)
			return show(answers, dir) + strings.Join(all, "\n")
		}
		f := &fields{Reader: sshwire.NewReader(answers[0][5:])}
		n := f.Uint32()
		all = append(all, fmt.Sprint(n))
		for range n {
			all = append(all, f.Text()+" "+f.Text())
			f.attributes()
		}
	}
}

// TestExtensions compares the answers to the extended requests that the tables above do not have.
func TestExtensions(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, who := range accounts() {
		p := begin(t, server, who)
		for _, name := range []string{"unknown@keyway", "", "POSIX-rename@openssh.com", "posix-rename@openssh.com\x00", "vendor-id", "check-file", "space-available"} {
			p.same("extension "+name, once2(name, "file", "other"))
		}
		for _, path := range []string{"~", "~/", "~/file", "~//dir/../file", "~root", "~root/", "~root/none", "~root//none", "~nobody", "~none", "~none/x", "", ".", "dir/..", "none/x", "DIR"} {
			p.same("expand-path "+path, once2("expand-path@openssh.com", path))
		}
		p.same("limits", once2("limits@openssh.com"))
		p.same("home-directory", once2("home-directory", who.name))
		p.same("home-directory of nobody known", once2("home-directory", "none"))
		ids := string(sshwire.AppendUint32(sshwire.AppendUint32(sshwire.AppendUint32(nil, 0), 65534), 4_000_000_000))
		p.same("users-groups-by-id", once2("users-groups-by-id@openssh.com", ids, ids))
		p.same("users-groups-by-id of none", once2("users-groups-by-id@openssh.com", "", ""))
		p.same("users-groups-by-id of many", once2("users-groups-by-id@openssh.com", strings.Repeat(ids, 5000), ids))
		p.same("fstatvfs without a handle", once2("fstatvfs@openssh.com", h(0)))
		p.done()
	}
}

// TestCopyData copies parts of files. OpenSSH does not report a failure at the end of a copy;
// TestCopyDataFails checks keyway's answer.
func TestCopyData(t *testing.T) {
	t.Parallel()
	server := program(t)
	p := begin(t, server, accounts()[0])
	p.same("open a source", once(fxpOpen, "dir/inner", openRead, attributes{}))
	p.same("open a target", once(fxpOpen, "target", openRead|openWrite|openCreate, attributes{}))
	p.same("open to append", once(fxpOpen, "file", openWrite|openAppend, attributes{}))
	p.same("open a source again", once(fxpOpen, "dir/inner", openRead|openWrite, attributes{}))
	p.same("open a directory", once(fxpOpendir, "dir"))
	for _, c := range []struct {
		from       string
		at, length uint64
		to         string
		where      uint64
	}{
		{h(0), 0, 10, h(1), 0},
		{h(0), 5, 10, h(1), 100},
		{h(0), 0, 65536, h(1), 7},
		{h(0), 0, 65537, h(1), 7},
		{h(0), 319990, 100, h(1), 3},    // ends in the last chunk
		{h(0), 319990, 100000, h(1), 3}, // and before it
		{h(0), 1 << 40, 10, h(1), 3},
		{h(0), 1 << 40, 100000, h(1), 3},
		{h(0), 1 << 63, 10, h(1), 3},
		{h(0), 0, 10, h(1), 1 << 63},
		{h(0), 0, 0, h(1), 200000},
		{h(0), 320000, 0, h(1), 1},
		{h(0), 0, 20, h(2), 0}, // appends
		{h(1), 0, 5, h(2), 99},
		{h(0), 0, 10, h(0), 100},
		{h(0), 0, 10, h(3), 100}, // one file by two handles
		{h(9), 0, 10, h(1), 0},
		{h(0), 0, 10, h(9), 0},
		{h(4), 0, 10, h(1), 0},
		{h(0), 0, 10, h(4), 0},
		{"", 0, 10, h(1), 0},
		{h(2), 0, 100000, h(1), 0}, // not open for reading
		{h(2), 0, 0, h(1), 0},
	} {
		p.same(fmt.Sprintf("copy-data %v", c), once2("copy-data", c.from, c.at, c.length, c.to, c.where))
	}
	p.done()
}

// TestHandles compares the answers to requests whose handles are closed, were never returned, or
// are malformed.
func TestHandles(t *testing.T) {
	t.Parallel()
	p := begin(t, program(t), accounts()[0])
	all := []string{"", "x", h(0), h(1), h(2), h(1 << 31), h(1<<32 - 1), "\x00\x00\x00\x00\x00", strings.Repeat("h", 300)}
	ask := func() {
		for _, handle := range all {
			p.same(fmt.Sprintf("close %.10q", handle), once(fxpClose, handle))
			p.same(fmt.Sprintf("read %.10q", handle), once(fxpRead, handle, uint64(0), 10))
			p.same(fmt.Sprintf("write %.10q", handle), once(fxpWrite, handle, uint64(0), "x"))
			p.same(fmt.Sprintf("fstat %.10q", handle), once(fxpFstat, handle))
			p.same(fmt.Sprintf("fsetstat %.10q", handle), once(fxpFsetstat, handle, attributes{flags: attrTimes}))
			p.same(fmt.Sprintf("readdir %.10q", handle), once(fxpReaddir, handle))
			p.same(fmt.Sprintf("fsync %.10q", handle), once2("fsync@openssh.com", handle))
			p.same(fmt.Sprintf("fstatvfs %.10q", handle), once2("fstatvfs@openssh.com", handle))
		}
	}
	ask()
	for range 2 {
		for _, name := range []string{"file", "dir/inner", "readonly", "setid"} {
			p.same("open "+name, once(fxpOpen, name, openRead, attributes{}))
		}
		ask()
		for _, n := range []uint32{1, 3, 0} { // in another order than they were opened in
			p.same("close", once(fxpClose, h(n)))
		}
	}
	p.done()
}

// TestLargeData reads and writes as much as one message can hold, requests more, and compares the
// answers with those of OpenSSH's server.
func TestLargeData(t *testing.T) {
	t.Parallel()
	p := begin(t, program(t), accounts()[0])
	p.same("open", once(fxpOpen, "large", openRead|openWrite|openCreate, attributes{}))
	block := string(bytes.Repeat([]byte("keyway"), maxData/6+1)[:maxData])
	for i := range 4 {
		p.same("write", once(fxpWrite, h(0), uint64(i*maxData), block))
	}
	for _, size := range []uint32{32768, 65536, 200000, maxData, maxData + 1, 1 << 18, 1 << 20, 1<<32 - 1} {
		for _, at := range []uint64{0, 12345, 4*maxData - 100} {
			p.same(fmt.Sprintf("read %d at %d", size, at), once(fxpRead, h(0), at, size))
		}
	}
	whole := maxMessage - 1 - 4 - 4 - 4 - 8 - 4 // a message of the largest size
	p.same("write", once(fxpWrite, h(0), uint64(5), strings.Repeat("w", whole)))
	p.done()
}

// TestVersions checks connections that begin with other versions, twice, or not at all.
func TestVersions(t *testing.T) {
	t.Parallel()
	server := program(t)
	for _, version := range []uint32{0, 1, 2, 3, 4, 6, 1<<32 - 1} {
		p := newPair(t, server, accounts()[0])
		p.same(fmt.Sprintf("version %d", version), hello(version))
		p.same("a request", once(fxpRemove, "none"))
		p.same("a request", once(fxpStat, "file"))
		p.same("version again", hello(3))
		p.same("a request", once(fxpRemove, "none"))
		p.done()
	}
	for kind := range 256 {
		if kind == fxpInit || requests[kind] == nil && kind != fxpExtended && kind%8 != 0 {
			continue // of invalid request numbers, one in eight is enough: each costs two servers
		}
		p := newPair(t, server, accounts()[0])
		p.same(fmt.Sprintf("%d before the version", kind), once(byte(kind), "file"))
		p.done()
	}
}
